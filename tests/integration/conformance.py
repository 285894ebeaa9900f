"""Rows of the contract: a request to a resource in a known state, and the answer that RFC 9110 requires."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.support.problems import problem

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Row:
    """A request and its answer. `{…}` in path and header fields is replaced by values of the resource's state."""

    section: str
    """A section of RFC 9110, unless another RFC is named."""
    method: str
    path: str
    status: int
    slug: str = ""
    """The end of the problem's type, if the answer is a problem."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    answered: Mapping[str, str] = field(default_factory=dict)
    """Header fields of the answer."""

    def __str__(self) -> str:
        fields = " ".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"{self.section}: {self.method} {self.path} {fields}".strip()[:110]


async def check(client: httpx.AsyncClient, row: Row, state: Mapping[str, str]) -> httpx.Response:
    """Send the request of the row, and compare the answer."""
    headers = {name: _filled(value, state) for name, value in row.headers.items()}
    path = _filled(row.path, state)
    if row.body is not None and not isinstance(row.body, bytes):
        response = await client.request(row.method, path, headers=headers, json=row.body)
    else:
        response = await client.request(row.method, path, headers=headers, content=row.body)
    assert response.status_code == row.status, response.text
    if row.slug and row.method != "HEAD":
        assert problem(response) == (row.status, row.slug)
    for name, value in row.answered.items():
        assert response.headers.get(name) == _filled(value, state), name
    if row.method == "HEAD" or row.status in {204, 304}:
        assert response.content == b""
    assert response.headers["X-Request-Id"]
    assert response.headers["X-Served-By"]
    return response


def unused() -> str:
    """A name that no other test uses."""
    return uuid.uuid4().hex


def _filled(text: str, state: Mapping[str, str]) -> str:
    for name, value in state.items():
        text = text.replace(f"{{{name}}}", value)
    return text
