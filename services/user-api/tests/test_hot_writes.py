"""Writes answered ahead of FastAPI: which they are, and that their answers are those of the routes."""

import json
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import pytest
from starlette.routing import BaseRoute
from tests.support.serving import serving

from evenkeel.http.etags import etag
from user_api.hot_writes import LARGEST, HotWrites
from user_api.idempotency import Changed
from user_api.main import create_app
from user_api.settings import Settings

pytestmark = pytest.mark.anyio

ROUTE = BaseRoute()
JSON = ("Content-Type", "application/json")
PATCH = ("Content-Type", "application/merge-patch+json")

Request = tuple[str, str, list[tuple[str, str]], bytes]

NEW = b'{"email":"c@example.com","name":"\xd0\xa6"}'

HOT: list[Request] = [
    ("POST", "/v1/users", [JSON], NEW),
    (
        "POST",
        "/v1/users",
        [JSON, ("Accept", "text/html"), ("X-Other", "1")],
        b'\xef\xbb\xbf{"email":"d@d.d","name":"D"}',
    ),
    ("POST", "/v1/users", [JSON], b'{"name":"Taken","email":"A@example.com"}'),
    ("PATCH", "/v1/users/1", [JSON], b'{"name":"\\u0041da"}'),
    ("PATCH", "/v1/users/1", [PATCH], b'{"email":"e@example.com"}'),
    ("PATCH", "/v1/users/1", [PATCH], b'{"email":"b@example.com"}'),
    ("PATCH", "/v1/users/1", [PATCH], b'{"email":"f@example.com","name":"Both"}'),
    ("PATCH", "/v1/users/1", [JSON], b"{}"),
    ("PATCH", "/v1/users/%32", [JSON], b'{"name":"Two"}'),
    ("PATCH", "/v1/users/999999999999999999", [JSON], b'{"name":"Nobody"}'),
    ("PATCH", "/v1/users/1", [JSON, ("If-Match", "*")], b'{"name":"Any"}'),
    ("PATCH", "/v1/users/1", [JSON, ("If-Match", '"1", W/"2",')], b'{"name":"No"}'),
    ("PATCH", "/v1/users/1", [JSON, ("If-Match", "TAG")], b'{"name":"Current"}'),
    ("PATCH", "/v1/users/1", [JSON, ("If-Match", 'W/TAG, "x"')], b'{"name":"Weak"}'),
]

ORDINARY: list[Request] = [
    ("PUT", "/v1/users/1", [JSON], b'{"name":"A"}'),
    ("DELETE", "/v1/users/9", [], b""),
    ("PATCH", "/v1/users/1?x=1", [JSON], b'{"name":"A"}'),
    ("POST", "/v1/users?x=1", [JSON], NEW),
    ("POST", "/v1/users/", [JSON], NEW),
    ("POST", "/v1/users/1", [JSON], NEW),
    *(("PATCH", f"/v1/users/{user_id}", [JSON], b'{"name":"A"}') for user_id in ("0", "01", "x", "9" * 19, "-1", "")),
    *(
        ("POST", "/v1/users", [("Content-Type", kind)], NEW)
        for kind in ("", "text/plain", "application/json;charset=x")
    ),
    ("POST", "/v1/users", [PATCH], NEW),
    ("POST", "/v1/users", [], NEW),
    ("POST", "/v1/users", [JSON, JSON], NEW),
    ("POST", "/v1/users", [JSON, ("Content-Encoding", "gzip")], NEW),
    ("POST", "/v1/users", [JSON, ("Idempotency-Key", "k")], NEW),
    ("POST", "/v1/users", [JSON, ("Idempotency-Key", "k"), ("Idempotency-Key", "l")], NEW),
    ("POST", "/v1/users", [JSON, ("If-Match", "*")], NEW),
    ("POST", "/v1/users", [JSON, ("If-None-Match", "*")], NEW),
    ("PATCH", "/v1/users/1", [JSON, ("If-None-Match", "*")], b'{"name":"A"}'),
    ("PATCH", "/v1/users/1", [JSON, ("If-Match", '"1"'), ("If-Match", '"2"')], b'{"name":"A"}'),
    ("PATCH", "/v1/users/1", [JSON, ("If-Match", "x")], b'{"name":"A"}'),
    ("PATCH", "/v1/users/1", [JSON, ("If-Match", "")], b'{"name":"A"}'),
    ("PATCH", "/v1/users/1", [JSON, ("Min-Version", "1")], b'{"name":"A"}'),
    *(
        ("PATCH", "/v1/users/1", [JSON], body)
        for body in (
            b"",
            b"{",
            b"null",
            b"[]",
            b'{"name":null}',
            b'{"name":""}',
            b'{"name":1}',
            b'{"name":"A","name":"B"}',
            b'{"other":1}',
            b'{"email":"x"}',
            b'{"name":"\\ud800"}',
            b'{"name":"\xff"}',
            b'{"name":NaN}',
            b"[" * 4000,
            b'{"name":"A"}' + b" " * LARGEST,
            b'{"name":"A"}' + b" " * 70_000,
        )
    ),
    ("POST", "/v1/users", [JSON], b'{"email":"g@example.com"}'),
    ("POST", "/v1/users", [JSON], b'{"email":"g@example.com","name":"G","version":7}'),
]


async def test_answers_are_those_of_the_ordinary_way(make_settings: Callable[..., Settings], database_url: str) -> None:
    hot, ordinary = [
        await transcript(make_settings(cache_tiers="memory"), database_url, hot=hot) for hot in (True, False)
    ]
    for one, other in zip(hot, ordinary, strict=True):
        assert one == other
    assert {status for _, status, _, _ in hot} >= {200, 201, 404, 405, 409, 412, 413, 415, 422}


async def transcript(settings: Settings, database_url: str, *, hot: bool) -> list[tuple[Request, int, Any, str]]:
    sql = await asyncpg.connect(database_url)
    await sql.execute("TRUNCATE users, user_idempotency_records RESTART IDENTITY")
    await sql.execute("INSERT INTO users (email, name) VALUES ('a@example.com', 'Ada'), ('b@example.com', 'B')")
    answers = []
    async with serving(create_app(settings, hot_paths=hot)) as client:
        for request in HOT + ORDINARY:
            method, path, fields, body = request
            tag = etag((await sql.fetchval("SELECT tag FROM users WHERE id = 1")).hex)
            headers = [("X-Request-Id", "one"), *((name, value.replace("TAG", tag)) for name, value in fields)]
            response = await client.request(method, path, headers=headers, content=body)
            sent = sorted((name.lower(), unlike(value.decode())) for name, value in response.headers.raw)
            answers.append((request, response.status_code, sent, unlike(response.text)))
            assert (await client.get("/v1/users/1")).json()["data"] == await row(sql)
        metrics = (await client.get("/metrics")).text
        counted = sorted(re.findall(r"^http_requests_total.*", metrics, re.MULTILINE))
        answers.append((("GET", "/metrics", [], b""), 200, counted, ""))
    await sql.close()
    return answers


async def row(sql: Any) -> Any:
    return json.loads(
        await sql.fetchval(
            """SELECT json_build_object('id', id, 'email', email, 'name', name, 'version', version, 'created_at',
            to_char(created_at AT TIME ZONE 'UTC', $1), 'updated_at', to_char(updated_at AT TIME ZONE 'UTC', $1))
            FROM users WHERE id = 1""",
            'YYYY-MM-DD"T"HH24:MI:SS.US"Z"',
        )
    )


def unlike(text: str) -> str:
    """Without what differs each time: tags and times."""
    return re.sub(r"[0-9a-f]{32}|\d{4}-\d\d-\d\dT[0-9:.]+Z|\w{3}, \d\d \w{3} \d{4} [0-9:]+ GMT", "?", text)


class Inner:
    """The application behind the layer. It notes the body that it is given."""

    body: bytes | None = None

    async def __call__(self, _: Any, receive: Any, __: Any) -> None:
        self.body = b""
        more = True
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(("requests", "hot"), [(HOT, True), (ORDINARY, False)], ids=["hot", "ordinary"])
async def test_what_is_in_order_is_answered_and_all_else_is_passed_on_whole(
    requests: list[Request], pieces: int, *, hot: bool
) -> None:
    for request in requests:
        inner, sent = Inner(), list[Any]()

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message["type"])

        layer = HotWrites(inner, create_user=ROUTE, change_user=ROUTE)
        left = messages(request[3], pieces)

        async def receive(left: Iterator[Any] = left) -> Any:
            return next(left)

        await layer(scope_of(request), receive, send)
        assert (inner.body is None) == hot, request
        assert bool(sent) == hot
        if not hot:
            assert inner.body == request[3]


async def test_a_caller_who_goes_away_in_the_middle_of_a_body_changes_nothing() -> None:
    inner = Inner()
    left = iter([{"type": "http.request", "body": b'{"name":', "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(left)

    layer = HotWrites(inner, create_user=ROUTE, change_user=ROUTE)
    await layer(scope_of(("PATCH", "/v1/users/1", [JSON], b'{"name":"A"}')), receive, receive)  # type: ignore[arg-type]
    assert inner.body == b'{"name":'


def messages(body: bytes, pieces: int) -> Iterator[dict[str, Any]]:
    size = max(1, -(-len(body) // pieces))
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    for number, part in enumerate(parts, 1):
        yield {"type": "http.request", "body": part, "more_body": number < len(parts)}


def scope_of(request: Request) -> dict[str, Any]:
    method, path, fields, body = request
    url = httpx.URL("http://x" + path)
    headers = [*fields, ("Content-Length", str(len(body)))] if body else fields

    async def change(*_: object) -> Changed:
        return Changed(200, "{}", 1, b"\0" * 16)

    return {
        "type": "http",
        "method": method,
        "path": url.path,
        "query_string": url.query,
        "headers": [
            (b"host", b"x"),
            *((name.lower().encode(), value.replace("TAG", '"1"').encode()) for name, value in headers),
        ],
        "state": {"users": SimpleNamespace(create=change, update=change)},
    }
