"""Increments answered ahead of FastAPI: which ones, and that the answers are the same."""

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from starlette.routing import BaseRoute
from tests.support.problems import problem
from tests.support.serving import Serve, serving

import counter_api
import evenkeel
from counter_api.counters import redis_store
from counter_api.counters.service import CounterService
from counter_api.hot_increments import IS_PLAIN, HotIncrements
from counter_api.main import _hot_paths as layers_around
from counter_api.main import create_app
from counter_api.metrics import Metrics
from counter_api.settings import Settings
from counter_api.stores import open_stores
from evenkeel.http.problems import Unavailable

pytestmark = pytest.mark.anyio

Request = tuple[str, str, Sequence[tuple[str, str]], bytes | None]


def post(path: str, *fields: tuple[str, str], body: bytes | None = None) -> Request:
    return "POST", path, fields, body


A = "/v1/counters/a/increment"

PLAIN: list[Request] = [
    post(A),
    post("/v1/counters/%61/increment", ("Accept", "text/html"), ("If-Modified-Since", "x"), ("X-Other", "1")),
    post(f"/v1/counters/{'Z' * 128}/increment"),
    post(A, ("Cache-Control", "no-cache"), ("Cache-Control", "no-store")),
    post("/v1/counters/0.b_c:d-e/increment"),
    post("/v1/counters/increment/increment"),
    post("/v1/counters/full/increment"),
    post("/v1/counters/foreign/increment"),
    post("/v1/counters/list/increment"),
    post("/v1/counters/a%2Fincrement"),
]

ORDINARY: list[Request] = [
    *((method, A, (), None) for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")),
    post(A + "/"),
    post(A + "?"),
    post(A + "?by=5"),
    post("/V1/counters/a/increment"),
    post("//v1/counters/a/increment"),
    post("/v1/counters//increment"),
    post("/v1/counters/a"),
    post("/v1/counters/a/Increment"),
    *(
        post(f"/v1/counters/{name}/increment")
        for name in ("_visits", "-", ".", "a%0A", "a%20", "%C3%A9", "a%7D", "a/b")
    ),
    post(f"/v1/counters/{'Z' * 129}/increment"),
    post(A, ("Content-Type", "application/json"), body=b'{"by":5}'),
    post(A, ("Content-Type", "application/json"), body=b"{"),
    post(A, ("Content-Type", "application/json"), body=b"0"),
    post(A, ("Content-Type", "application/json")),
    post(A, ("Content-Type", "a/b"), ("Content-Type", "a/b")),
    post(A, ("Min-Version", "1"), ("Min-Version", "1")),
    post(A, body=b"{}"),
    post(A, ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked"), body=b'{"by":7}'),
    post(A, ("Content-Length", "00")),
    post(A, ("Expect", "100-continue")),
    post(A, ("Idempotency-Key", "0")),
    post(A, ("Idempotency-Key", "0")),
    post(A, ("Idempotency-Key", "1"), ("Idempotency-Key", "2")),
    post(A, ("If-Match", '"9"')),
    post(A, ("If-Match", '"8"'), ("If-Match", "*")),
    post(A, ("If-None-Match", "*")),
    post("/v1/counters:batch"),
    post("/counter"),
]


async def test_answers_are_those_of_the_ordinary_way(make_settings: Callable[..., Settings], counters_url: str) -> None:
    hot, ordinary = [
        await transcript(make_settings(), counters_url, hot_paths=hot_paths) for hot_paths in (True, False)
    ]
    for one, other in zip(hot, ordinary, strict=True):
        assert one == other
    assert len(hot) == 3 * len(PLAIN + ORDINARY) + 2
    assert [status for (_, path, *_), status, *_ in hot[: 3 * len(PLAIN)] if "/f" in path] == [
        200,
        409,
        409,
        *[409] * 3,
    ]


async def transcript(
    settings: Settings, counters_url: str, *, hot_paths: bool
) -> list[tuple[Request, int, Any, bytes]]:
    """The answers to all requests, each sent three times; the metrics after them; what is left in Redis."""
    answers: list[tuple[Request, int, Any, bytes]] = []
    async with Redis.from_url(counters_url) as redis:
        await redis.flushall()
        await redis.set("{full}", 2**63 - 2)
        await redis.set("{foreign}", "+1")
        await redis.rpush("{list}", "1")
        async with serving(create_app(settings, hot_paths=hot_paths)) as client:
            for request in PLAIN + ORDINARY:
                method, path, fields, body = request
                for _ in range(3):
                    response = await client.request(
                        method, path, headers=[("X-Request-Id", "one"), *fields], content=body
                    )
                    headers = sorted((name.lower(), value) for name, value in response.headers.raw if name != b"date")
                    answers.append((request, response.status_code, headers, response.content))
            metrics = (await client.get("/metrics")).text
        names = r"^(?:http_request(?:s_total|_duration_seconds_count)|counter_).*"
        answers.append((post("/metrics"), 200, sorted(re.findall(names, metrics, re.MULTILINE)), b""))
        counted = [await redis.get("{a}"), await redis.hgetall("{_requests}")]
        answers.append((post("Redis"), 200, counted, b""))
    return answers


class Inner:
    """The application behind the layer. It only notes that it was called."""

    asked = False

    async def __call__(self, *_: object) -> None:
        self.asked = True


class Fake:
    """Counters that are always at one."""

    async def increment_by_one(self, name: str) -> int:
        assert re.fullmatch("[0-9A-Za-z.:_-]+", name)
        return 1


async def goes_the_ordinary_way(scope: dict[str, Any]) -> bool:
    inner = Inner()
    sent = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await HotIncrements(inner, increment_counter=BaseRoute())(scope, send, send)  # type: ignore[arg-type]  # nothing is received
    assert sent == ([] if inner.asked else ["http.response.start", "http.response.body"])
    return inner.asked


def scope_of(request: Request) -> dict[str, Any]:
    """As uvicorn makes it of what httpx sends."""
    method, path, fields, body = request
    sent = httpx.Request(method, httpx.URL("http://x" + path), headers=fields, content=body)
    return {
        "type": "http",
        "method": method,
        "path": sent.url.path,
        "query_string": sent.url.query,
        "headers": [(name.lower(), value) for name, value in sent.headers.raw],
        "state": {"counters": Fake()},
    }


@pytest.mark.parametrize("request_", PLAIN, ids=lambda r: r[1][:60])
async def test_plain_increments_do_not_reach_fastapi(request_: Request) -> None:
    assert not await goes_the_ordinary_way(scope_of(request_))


@pytest.mark.parametrize("request_", [r for r in ORDINARY if r[1] != A + "?"], ids=lambda r: str(r)[:80])
async def test_everything_else_does(request_: Request) -> None:
    assert await goes_the_ordinary_way(scope_of(request_))


async def test_a_trace_does_not_switch_the_short_way_off() -> None:
    traced = post(A, ("Traceparent", f"00-{'a' * 32}-{'b' * 16}-01"), ("Tracestate", "c=d"))
    assert not await goes_the_ordinary_way(scope_of(traced))


async def test_lifespan_and_other_protocols_pass() -> None:
    for kind in ("lifespan", "websocket"):
        assert await goes_the_ordinary_way({"type": kind})


async def test_no_field_that_the_route_reads_is_overlooked(serve: Serve) -> None:
    async with serve() as client:
        document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/counters/{name}/increment"]["post"]
    fields = {
        parameter["name"].lower().encode() for parameter in operation["parameters"] if parameter["in"] == "header"
    }
    assert fields == {b"idempotency-key", b"if-match", b"if-none-match"}
    assert fields <= IS_PLAIN.fields


async def test_an_increment_runs_few_modules(make_settings: Callable[..., Settings]) -> None:
    """So that a reader can follow it: few of the project's modules execute code, and none of them is long."""
    executed = set[str]()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            executed.add(frame.f_code.co_filename)

    async def nothing(*_: Any) -> Any:
        return None

    layers, metrics = layers_around(nothing), Metrics(CollectorRegistry())
    async with open_stores(make_settings(), metrics) as stores:
        state = {"tally": stores.tally, "counters": CounterService(stores.counters, metrics)}
        for profile in (None, None, note):
            scope = scope_of(PLAIN[0]) | {"state": state}
            sys.setprofile(profile)
            try:
                await layers(scope, nothing, nothing)
            finally:
                sys.setprofile(None)
    packages = [Path(package.__file__ or "").parent for package in (counter_api, evenkeel)]
    modules = sorted(path for path in map(Path, executed) if any(map(path.is_relative_to, packages)))
    assert Path(redis_store.__file__ or "") in modules
    assert len(modules) <= 8, modules
    assert all(len(path.read_text().splitlines()) <= 300 for path in modules)


async def test_the_count_of_requests_travels_with_the_increments(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await client.post(A)
        # The replica's commands at its start do not count.
        assert (await client.get("/v1/counters")).status_code == 200
        await redis.config_resetstat()
        await asyncio.gather(*(client.post(A) for _ in range(50)))
        calls = await redis.info("commandstats")
        assert calls["cmdstat_hincrby"]["calls"] <= calls["cmdstat_evalsha"]["calls"] < 50
        assert await redis.hget("{_requests}", "replica-a") == b"52"


@pytest.mark.parametrize("hot_paths", [True, False])
async def test_unreachable_store(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, *, hot_paths: bool
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("Gone.", retry_after=7)

    for method in ("increment", "increment_by_one"):
        monkeypatch.setattr(CounterService, method, fail)
    async with serving(create_app(make_settings(), hot_paths=hot_paths)) as client:
        response = await client.post(A)
        assert problem(response) == (503, "unavailable")
        assert response.headers["Retry-After"] == "7"
        counted = 'method="POST",route="/v1/counters/{name}/increment",status="503"} 1.0'
        assert counted in (await client.get("/metrics")).text


async def test_unexpected_error(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(CounterService, "increment_by_one", fail)
    async with serve() as client:
        response = await client.post(A)
        assert problem(response) == (500, "internal-error")
        assert "1234" not in response.text
        assert (await client.get("/stats")).json()["total_requests"] == 2
        assert 'route="/v1/counters/{name}/increment",status="500"' in (await client.get("/metrics")).text
