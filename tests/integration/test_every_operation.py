"""Rules for every operation of the OpenAPI documents. Each operation gets requests that it must refuse."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.integration.conformance import unused
from tests.support.problems import problem
from tests.support.users import create

pytestmark = pytest.mark.anyio

METHODS = ("get", "post", "put", "patch", "delete")
SERVICES = ("user-api", "counter-api")
HAS_NO_END = "/events"
VALUES = {"unit": "hour"}
"""Values of required query parameters."""


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    """Values of an existing user, counter or set of members."""
    document: dict[str, Any]

    def takes(self, header: str) -> bool:
        parameters = self.document.get("parameters", [])
        return any(one["in"] == "header" and one["name"].lower() == header.lower() for one in parameters)

    @property
    def query(self) -> dict[str, str]:
        """A value for each required parameter of the query."""
        parameters = self.document.get("parameters", [])
        return {one["name"]: VALUES[one["name"]] for one in parameters if one["in"] == "query" and one.get("required")}

    @property
    def parameters(self) -> list[str]:
        return [one["name"] for one in self.document.get("parameters", []) if one["in"] == "query"]

    @property
    def body_types(self) -> list[str]:
        return list(self.document.get("requestBody", {}).get("content", {}))

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@pytest.fixture
async def operations(client: httpx.AsyncClient, email: str) -> list[Operation]:
    """All operations of both services, on resources that exist."""
    user, name = await create(client, email=email), unused()
    (await client.put(f"/v1/counters/{name}", json={"value": 7})).raise_for_status()
    (await client.post(f"/v1/uniques/{name}", json={"member": "a"})).raise_for_status()
    found = []
    for service in SERVICES:
        document = (await client.get(f"/openapi/{service}.json")).raise_for_status().json()
        found += list(_operations(document, {"user_id": str(user["id"]), "name": name}))
    assert len(found) > 20
    return found


def _operations(document: dict[str, Any], values: dict[str, str]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                shared = methods.get("parameters", [])
                described = methods[method]
                parameters = [*shared, *described.get("parameters", [])]
                yield Operation(method.upper(), path.format_map(values), {**described, "parameters": parameters})


async def _sent(
    client: httpx.AsyncClient, operation: Operation, headers: dict[str, str] | None = None, query: str = ""
) -> httpx.Response:
    """If the operation takes a body, an empty one of the right type."""
    typed = {"Content-Type": operation.body_types[0]} if operation.body_types else {}
    content = b"{}\n" if operation.body_types else None
    url = httpx.URL(operation.path, params=operation.query)
    path = f"{url}{'&' if operation.query else '?'}{query}" if query else str(url)
    return await client.request(operation.method, path, headers=typed | (headers or {}), content=content)


async def test_query_parameters_are_known_and_sent_once(client: httpx.AsyncClient, operations: list[Operation]) -> None:
    for operation in operations:
        response = await _sent(client, operation, query="unheard-of=1")
        assert problem(response) == (422, "validation"), operation
        for name in operation.parameters:
            if name in {"ids", "v"}:  # one parameter is a list, the other has no meaning
                continue
            response = await _sent(client, operation, query=f"{name}=1&{name}=1")
            assert problem(response) == (422, "validation"), (operation, name)


async def test_no_write_ignores_a_precondition(client: httpx.AsyncClient, operations: list[Operation]) -> None:
    """A precondition is judged if the resource has entity tags, and refused if it has none."""
    for operation in operations:
        if operation.method == "GET":
            continue
        for header, value in (("If-Match", '"other"'), ("If-None-Match", "*")):
            response = await _sent(client, operation, {header: value})
            # A body of a wrong type may be refused first.
            expected = {412, 422} if operation.takes(header) else {422}
            assert response.status_code in expected, (operation, header, response.text)
            if not operation.takes(header):
                [error] = [one for one in response.json()["errors"] if one["in"] == "header"]
                assert error["field"] == header, operation
        assert problem(await _sent(client, operation, {"If-Match": "other"})) == (422, "validation"), operation


async def test_every_change_takes_an_idempotency_key(operations: list[Operation]) -> None:
    for operation in operations:
        changes = operation.method != "GET"
        assert operation.takes("Idempotency-Key") == changes, operation


async def test_a_body_is_of_a_type_that_is_taken(client: httpx.AsyncClient, operations: list[Operation]) -> None:
    for operation in operations:
        if not operation.body_types:
            continue
        for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}):
            response = await _sent(client, operation, headers)
            assert problem(response) == (415, "unsupported-media-type"), (operation, headers)
        bare = await client.request(operation.method, operation.path, content=b"{}\n")
        assert problem(bare) == (415, "unsupported-media-type"), operation


async def test_head_is_wherever_get_is(client: httpx.AsyncClient, operations: list[Operation]) -> None:
    for operation in operations:
        if operation.method != "GET":
            assert problem(await client.request("QUERY", operation.path))[0] == 501
            continue
        head = await client.head(operation.path, params=operation.query)
        assert (head.status_code, head.content) == (200, b""), operation
        if operation.path.endswith(HAS_NO_END):
            continue
        answer = await client.get(operation.path, params=operation.query)
        own = {"date", "x-request-id", "x-served-by", "content-length", "transfer-encoding", "cache-status"}
        assert head.headers.keys() - own == answer.headers.keys() - own, operation
