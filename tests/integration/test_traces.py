"""A trace leads from the gateway through the services to SQL and Redis, and has no personal data."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.conftest import Stack
from tests.support.spans import Collector, collector

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


class Caller:
    """Sends each request in a trace of its own."""

    def __init__(self, url: str, collector: Collector) -> None:
        self._url = url
        self._collector = collector

    async def send(self, method: str, path: str, **options: Any) -> tuple[httpx.Response, str]:
        """The answer, and the id of the trace."""
        trace = uuid.uuid4().hex
        headers = {"traceparent": f"00-{trace}-{'1' * 16}-01"}
        async with httpx.AsyncClient(base_url=self._url, timeout=30) as client:
            answer = await client.request(method, path, headers=headers, **options)
        assert answer.is_success, answer.text
        return answer, trace

    async def spans(self, trace: str, *, route: str) -> list[Any]:
        """Those of the trace, once the gateway and the service with this route have sent theirs."""

        def found() -> list[Any]:
            return [span for _, span in self._collector.spans if span.trace_id.hex() == trace]

        await until(lambda: {"ingress", route} <= {span.name for span in found()}, found)
        return found()


async def until(met: Callable[[], bool], seen: Callable[[], object]) -> None:
    for _ in range(300):
        if met():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(seen())


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def path_of(span: Any, spans: list[Any]) -> list[str]:
    """The names from the root of the trace to this span."""
    by_id = {each.span_id: each for each in spans}
    names = [span.name]
    while (parent := by_id.get(span.parent_span_id)) is not None:
        span = parent
        names.insert(0, span.name)
    return names


async def test_from_the_gateway_to_sql_and_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(tmp_path)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    async with collector() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        running = stack.running(user_api=1, counter_api=1)
        await asyncio.to_thread(running.__enter__)
        try:
            await look(Caller(await asyncio.to_thread(lambda: stack.gateway), received), received)
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


async def look(caller: Caller, received: Collector) -> None:
    created, post = await caller.send("POST", "/v1/users", json={"email": "grace@example.com", "name": "Grace Hopper"})
    from_database, cold = await caller.send("GET", created.headers["Location"])
    from_memory, hot = await caller.send("GET", created.headers["Location"])
    found, _ = await caller.send("GET", "/v1/users?email=grace@example.com")
    _, counted = await caller.send("POST", "/v1/counters/grace_example.com/increment")
    assert (from_database.json()["source"], from_memory.json()["source"]) == ("database", "memory")
    assert found.json()["data"]["name"] == "Grace Hopper"

    spans = await caller.spans(post, route="POST /v1/users")
    ways = [path_of(span, spans) for span in spans]
    assert ["ingress", "POST /v1/users", "INSERT"] in ways
    assert ["ingress", "POST /v1/users", "wait for invalidate", "invalidate"] in ways
    [insert] = [span for span in spans if span.name == "INSERT"]
    assert attributes(insert)["db.query.text"].startswith("INSERT INTO users (email, name)")

    route = "GET /v1/users/{user_id}"
    spans = await caller.spans(cold, route=route)
    ways = [path_of(span, spans) for span in spans]
    assert ["ingress", route, "wait for MGET", "MGET"] in ways
    assert ["ingress", route, "wait for load", "load", "SELECT"] in ways
    assert ["ingress", route, "wait for load", "load", "wait for lease", "lease"] in ways

    # Ahead of FastAPI, and traced.
    spans = await caller.spans(hot, route=route)
    assert sorted(span.name for span in spans) == [route, "ingress"]
    [span] = [span for span in spans if span.name == route]
    assert path_of(span, spans) == ["ingress", route]
    [status] = attributes(span)["http.response.header.cache-status"].values
    assert status.string_value.startswith("memory; hit")

    route = "POST /v1/counters/{name}/increment"
    spans = await caller.spans(counted, route=route)
    assert ["ingress", route, "wait for changes"] in [path_of(span, spans) for span in spans]

    assert {service for service, _ in received.spans} == {"gateway", "user-api", "counter-api"}
    everything = "".join(str(span) for _, span in received.spans).lower()
    for personal in ("grace", "hopper", "example.com", "127.0.0.1", "httpx"):
        assert personal not in everything, personal
