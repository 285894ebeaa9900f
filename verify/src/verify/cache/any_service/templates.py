"""The requests that a caller describes: `PATCH http://host/users/{id} {"name": "{value}"}`."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

from stack.errors import UsageError

Value = str | int | None
"""What is written and read back. None is only ever an old value."""

WRITES = ("PATCH", "POST", "PUT")

_SENTINEL = "any value"


def server(option: str, url: str) -> str:
    """The server's part of the URL. Raises UsageError if it is not a URL of HTTP."""
    wrong = UsageError(f"{option}: {url!r} is not a URL like http://host:port/users/{{id}}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or parts.fragment:
        raise wrong
    if not url.isprintable() or " " in url:
        raise wrong
    return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True)
class Template:
    """One kind of request."""

    method: str
    server: str
    path: str
    body: str = ""

    @classmethod
    def read(cls, text: str) -> Self:
        """`GET URL`. Raises UsageError."""
        words = text.split()
        if len(words) != 2 or words[0] != "GET":
            raise UsageError(f"--read must be like 'GET http://host/users/{{id}}', not {text!r}")
        return cls._checked("--read", "GET", words[1], "")

    @classmethod
    def write(cls, text: str) -> Self:
        """`METHOD URL BODY`, where the body is JSON; none is needed if the URL has the value. Raises UsageError."""
        method, _, rest = text.strip().partition(" ")
        url, _, body = rest.strip().partition(" ")
        if method not in WRITES:
            raise UsageError(f"--write must begin with {', '.join(WRITES[:-1])} or {WRITES[-1]}, not {method!r}")
        template = cls._checked("--write", method, url, body.strip())
        try:
            values: list[Any] | None = (
                list(_leaves(json.loads(template.filled("1", _SENTINEL)[1]))) if template.body else []
            )
        except ValueError:
            values = None
        if values is None or values.count(_SENTINEL) != body.count("{value}") or "{value}" not in text:
            raise UsageError(f'--write: the body must be JSON with "{{value}}" in the place of a value, not {body!r}')
        return template

    @classmethod
    def _checked(cls, option: str, method: str, url: str, body: str) -> Self:
        base = server(option, url)
        if "{id}" not in url[len(base) :] + body:
            raise UsageError(f"{option}: {{id}} is missing in {f'{url} {body}'.strip()!r}")
        path = url[len(base) :]
        return cls(method, base, path if path.startswith("/") else f"/{path}", body)

    @property
    def has_value_in_path(self) -> bool:
        return "{value}" in self.path

    def filled(self, record_id: str, value: Value = None) -> tuple[str, bytes]:
        """The path and the body. A value takes the place of `"{value}"` with its quotes, so it keeps its type."""
        written = json.dumps(value)
        inside = json.dumps(record_id)[1:-1]
        body = re.sub(
            r'"\{value\}"|\{value\}|\{id\}', lambda found: inside if found[0] == "{id}" else written, self.body
        )
        inserted = {"{id}": record_id, "{value}": "" if value is None else str(value)}
        path = re.sub(r"\{(?:id|value)\}", lambda found: quote(inserted[found[0]], safe=""), self.path)
        return path, body.encode()


@dataclass(frozen=True)
class ValuePath:
    """Where in an answer the value is: `data.name`, or `items.0.name`."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        if not all(text.split(".")):
            raise UsageError(f"--value must be names with dots between them, like data.name, not {text!r}")
        return cls(text)

    def of(self, document: Any) -> Any:
        """Raises LookupError if the answer has no such value."""
        for name in self.text.split("."):
            try:
                document = document[int(name) if isinstance(document, list) else name]
            except (TypeError, ValueError) as error:
                raise LookupError(name) from error
        return document


def headers(lines: Sequence[str]) -> dict[str, str]:
    """The lines of --header, by lower-case name. Raises UsageError."""
    found = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not value.strip().isprintable():
            raise UsageError("--header must be like 'Name: value'")  # without the line, which may hold a secret
        found[name.lower()] = value.strip()
    return found


def _leaves(document: Any) -> Any:
    if isinstance(document, dict | list):
        for inner in document.values() if isinstance(document, dict) else document:
            yield from _leaves(inner)
    else:
        yield document
