"""Reads answered ahead of FastAPI: which they are, and that their answers are those of the routes."""

import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from starlette.routing import BaseRoute
from tests.support.problems import problem
from tests.support.serving import serving

from evenkeel.cache.entry import ABSENT, Entry
from evenkeel.cache.memory_tier import MemoryHit
from user_api.hot_reads import IS_PLAIN, HotReads
from user_api.main import create_app
from user_api.representation import prepare
from user_api.service import UserService
from user_api.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.hot_and_ordinary]

TAG = UUID(int=1)
"""Of all users here."""

ROUTE = BaseRoute()

Request = tuple[str, str, Sequence[tuple[str, str]]]

PLAIN: list[Request] = [
    ("GET", "/v1/users/1", []),
    (
        "GET",
        "/v1/users/2",
        [("Accept", "text/html"), ("Range", "bytes=0-9"), ("X-Evenkeel-Subject", "a"), ("X-Other", "1")],
    ),
    ("GET", "/v1/users/1", [("Content-Length", "0")]),
    ("GET", "/v1/users/1", [("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")]),
    ("GET", "/v1/users/%32", []),
    ("GET", "/v1/users/999999999999999999", []),
    ("GET", "/v1/users?ids=1", [("Accept", "text/html")]),
    ("GET", "/v1/users?ids=2,999999999999999999,3,2,1", []),
    ("GET", f"/v1/users?ids={','.join(map(str, range(1, 101)))}", []),
]

ORDINARY: list[Request] = [
    # To the layer alone; it gets them as GET.
    *(("HEAD", path, headers) for _, path, headers in PLAIN),
    ("OPTIONS", "/v1/users/1", []),
    ("PUT", "/v1/users/1", []),
    ("GET", "/v1/users/1/", []),
    ("GET", "/v1/users/", []),
    ("GET", "/v1/users//1", []),
    ("GET", "/v1/users/1?", []),
    ("GET", "/v1/users/1?x=1", []),
    ("GET", "/v1/users/1?ids=1&ids=2", []),
    ("GET", "/v1/users?limit=1&limit=2", []),
    ("GET", "/V1/users/1", []),
    *(("GET", f"/v1/users/{n}", []) for n in ("0", "01", "-1", "+1", "1_0", "x", "1.0", "%D9%A1", "%201", "1%0A")),
    *(("GET", f"/v1/users/{n}", []) for n in (10**18, 2**63 - 1, 2**63, "9" * 5000)),
    *(
        ("GET", f"/v1/users?ids={ids}", [])
        for ids in ("", "0", "1,", "01", "1%2C2", "x", "1,-1", f"{2**63}", "1&ids=2", f"{10**20}", "1&x=1", "1&ids=")
    ),
    ("GET", f"/v1/users?ids={','.join(map(str, range(1, 102)))}", []),
    ("GET", "/v1/users?ids=1&limit=1", []),
    ("GET", "/v1/users?limit=1", []),
    ("GET", "/v1/users", []),
    ("GET", "/v1/users/?ids=1", []),
    ("GET", "/v1/users/1?ids=1", []),
    ("GET", "/v1/users?ids=1", [("Cache-Control", "no-cache")]),
    ("GET", "/v1/users/1", [("If-None-Match", f'"{TAG.hex}"')]),
    ("GET", "/v1/users/1", [("If-None-Match", '"7"'), ("If-None-Match", f'W/"{TAG.hex}"')]),
    ("GET", "/v1/users/1", [("If-None-Match", "1")]),
    *(("GET", "/v1/users/1", [(name, tags)]) for name in ("If-Match", "If-None-Match") for tags in ("*", '"9"', "9")),
    ("GET", "/v1/users/1", [("If-Match", f'"{TAG.hex}"')]),
    ("GET", "/v1/users?ids=1", [("If-Match", "*")]),
    ("GET", "/v1/users?ids=1", [("If-None-Match", "*")]),
    ("HEAD", "/v1/users/1", [("If-None-Match", "*")]),
    ("GET", "/v1/users/1", [("Min-Version", "1")]),
    ("GET", "/v1/users/1", [("Min-Version", "2")]),
    ("GET", "/v1/users/1", [("Min-Version", "1"), ("Min-Version", "1")]),
    ("GET", "/v1/users/1", [("Cache-Control", "no-cache")]),
    ("GET", "/v1/users/1", [("Cache-Control", "max-age=0")]),
    ("GET", "/v1/users/1", [("Content-Type", "a/b"), ("Content-Type", "a/b")]),
    ("GET", "/v1/users/1", [("Idempotency-Key", "1"), ("Idempotency-Key", "2")]),
    ("GET", "/v1/users/1", [("Content-Length", "00")]),
    ("GET", "/v1/users/1", [("Expect", "100-continue")]),
]


@pytest.mark.parametrize(
    "tiers", ["memory,redis", *(pytest.param(one, marks=pytest.mark.slow) for one in ("memory", "redis", ""))]
)
async def test_answers_are_those_of_the_ordinary_way(
    make_settings: Callable[..., Settings], database_url: str, cache_url: str, tiers: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO users (email, name, tag) VALUES ('a@example.com', 'Ada', $1), ('b@example.com', 'Ядв', $1)", TAG
    )
    await connection.close()
    hot: list[Any] = []
    ordinary: list[Any] = []
    for _ in range(3):  # on a busy machine a tier may lose trust in the middle of one
        hot, ordinary = [
            await transcript(make_settings(cache_tiers=tiers), cache_url, hot_paths=hot_paths)
            for hot_paths in (True, False)
        ]
        if hot == ordinary:
            break
    for one, other in zip(hot, ordinary, strict=True):
        assert one == other
    assert len(hot) == 3 * len(PLAIN + ORDINARY) + 1
    sources = {source for _, _, _, body in hot for source in re.findall(rb'{"source":"([a-z]+)"', body)}
    assert sources == {b"database", *(tier.encode() for tier in tiers.split(",")[:1] if tier)}


async def transcript(settings: Settings, cache_url: str, *, hot_paths: bool) -> list[tuple[Request, int, Any, bytes]]:
    """The answers to all requests, each sent three times: first to a cold cache, then to a warm one."""
    answers = []
    async with Redis.from_url(cache_url) as redis:
        await redis.flushall()
    async with serving(create_app(settings, hot_paths=hot_paths)) as client:
        for request in PLAIN + ORDINARY:
            method, path, fields = request
            for _ in range(3):
                response = await client.request(method, path, headers=[("X-Request-Id", "one"), *fields])
                headers = sorted(
                    (name.lower(), re.sub(rb"ttl=\d+", b"ttl=?", value))
                    for name, value in response.headers.raw
                    if name.lower() != b"date"
                )
                answers.append((request, response.status_code, headers, response.content))
        metrics = (await client.get("/metrics")).text
        counted = sorted(re.findall(r"^http_request(?:s_total|_duration_seconds_count).*", metrics, re.MULTILINE))
        answers.append((("GET", "/metrics", []), 200, counted, b""))
    return answers


class Inner:
    """The application behind the layer. It only notes that it was called."""

    asked = False

    async def __call__(self, *_: object) -> None:
        self.asked = True


async def goes_the_ordinary_way(scope: dict[str, Any]) -> bool:
    inner = Inner()
    sent = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    layer = HotReads(inner, read_user=ROUTE, list_users=ROUTE)
    await layer(scope, send, send)  # type: ignore[arg-type]  # nothing is received
    assert sent == ([] if inner.asked else ["http.response.start", "http.response.body"])
    return inner.asked


def scope_of(request: Request, *, entry: Entry) -> dict[str, Any]:
    method, path, fields = request
    url = httpx.URL("http://x" + path)
    return {
        "type": "http",
        "method": method,
        "path": url.path,
        "query_string": url.query,
        "headers": [(b"host", b"x"), *((name.lower().encode(), value.encode()) for name, value in fields)],
        "state": {"users": SimpleNamespace(peek=lambda _: MemoryHit(entry, prepare(entry), 0.0), get_many=nobody)},
    }


async def nobody(_: object) -> dict[int, Entry]:
    return {}


@pytest.mark.parametrize("entry", [Entry(1, b"{}"), ABSENT], ids=["user", "none"])
@pytest.mark.parametrize("request_", PLAIN, ids=str)
async def test_plain_reads_do_not_reach_fastapi(request_: Request, entry: Entry) -> None:
    assert not await goes_the_ordinary_way(scope_of(request_, entry=entry))


@pytest.mark.parametrize("request_", [r for r in ORDINARY if r[1] != "/v1/users/1?"], ids=lambda r: str(r)[:60])
async def test_everything_else_does(request_: Request) -> None:
    assert await goes_the_ordinary_way(scope_of(request_, entry=Entry(1, b"{}")))


async def test_a_trace_does_not_switch_the_short_way_off() -> None:
    traced = "GET", "/v1/users/1", [("Traceparent", f"00-{'a' * 32}-{'b' * 16}-01"), ("Tracestate", "c=d")]
    assert not await goes_the_ordinary_way(scope_of(traced, entry=Entry(1, b"{}")))


async def test_lifespan_and_other_protocols_pass() -> None:
    for kind in ("lifespan", "websocket"):
        assert await goes_the_ordinary_way({"type": kind})


async def test_no_field_that_the_route_reads_is_overlooked(client: httpx.AsyncClient) -> None:
    operation = (await client.get("/openapi.json")).json()["paths"]["/v1/users/{user_id}"]["get"]
    fields = {
        parameter["name"].lower().encode() for parameter in operation["parameters"] if parameter["in"] == "header"
    }
    assert fields == {b"cache-control", b"if-match", b"if-none-match", b"min-version"}
    assert fields <= IS_PLAIN.fields


async def test_unexpected_error(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(UserService, "get", fail)
    response = await client.get("/v1/users/1")
    assert problem(response) == (500, "internal-error")
    assert "1234" not in response.text
    assert 'route="/v1/users/{user_id}",status="500"' in (await client.get("/metrics")).text
