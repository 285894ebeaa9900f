"""The gateway's limits: streams have limits of their own, and what is beyond a limit gets a clear answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.support.gateway_bench import Bench, gateway_bench, gateway_problem

from counter_api.events import feed
from stack.layout import repository_root

pytestmark = pytest.mark.anyio

EVENTS = "/v1/counters/a/events?endless"
EXPORT = "/v1/counters:export?endless"
IMPORT = "/v1/counters:import?endless"

FLEET = "/v1/fleet/{}/events?endless"

FEWER = (
    (r'"max_requests": 6000', '"max_requests": 3'),
    (r'"max_requests": 64\b', '"max_requests": 2'),
    (r'"max_requests": 128\b', '"max_requests": 1'),
)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """With room for three event streams, for two exports or imports, and for one stream of each fleet."""
    async with gateway_bench(tmp_path, *FEWER) as bench:
        await bench.publish(bench.ports, "counter-api")
        yield bench


async def test_events_beyond_the_limit(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(_open(bench, "GET", EVENTS))
        _assert_too_many(await bench.client.get(EVENTS))
        assert bench.received[f"GET {EVENTS}"] == 3
        # Other requests do not have to wait.
        await stack.enter_async_context(_open(bench, "GET", EXPORT))
        assert (await bench.client.post("/v1/counters/a/increment")).status_code == 200
    await _until_there_is_room(bench, EVENTS)


async def test_exports_and_imports_beyond_the_limit(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_open(bench, "GET", EXPORT))
        await stack.enter_async_context(_open(bench, "POST", IMPORT))
        _assert_too_many(await bench.client.get(EXPORT))
        for headers in ({}, {"Idempotency-Key": "k"}):
            _assert_too_many(await bench.client.post(IMPORT, headers=headers, content=b"x"))
        assert bench.received.total() == 2
        await stack.enter_async_context(_open(bench, "GET", EVENTS))
        assert (await bench.client.post("/v1/counters/a/increment")).status_code == 200
    await _until_there_is_room(bench, EXPORT)


async def test_streams_of_a_fleet_beyond_the_limit(bench: Bench) -> None:
    users, counters = FLEET.format("user-api"), FLEET.format("counter-api")
    async with AsyncExitStack() as stack:
        for path in (users, counters):
            await stack.enter_async_context(_open(bench, "GET", path))
        for path in (users, counters):
            _assert_too_many(await bench.client.get(path))
        assert bench.received.total() == 2
        # Neither other requests nor other streams have to wait.
        for path in ("/v1/fleet/user-api", "/v1/users/1", "/v1/fleet/counter-api", "/v1/counters/a"):
            assert (await bench.client.get(path)).status_code == 200
        await stack.enter_async_context(_open(bench, "GET", EVENTS))
    await _until_there_is_room(bench, users)


async def test_requests_beyond_the_limit(tmp_path: Path) -> None:
    async with gateway_bench(tmp_path, (r'"max_requests": 8192', '"max_requests": 1')) as bench:
        await bench.publish(bench.ports, "counter-api")
        async with _open(bench, "POST", "/v1/counters/endless"):
            response = await bench.client.post("/v1/counters/a/increment")
            assert gateway_problem(response) == (503, "unavailable")
            assert response.headers["Retry-After"] == "1"
            assert "not sent to any replica" in response.json()["detail"]
            assert (await bench.client.post("/v1/users")).status_code == 200
        assert bench.received["POST /v1/counters/a/increment"] == 0


async def test_a_request_that_got_no_answer_is_told_whether_it_was_sent(tmp_path: Path) -> None:
    """With one connection for each of Envoy's workers. There are fewer workers than requests."""
    changes = ((r'"max_connections": 4096', '"max_connections": 1'), (r'"timeout": "15s"', '"timeout": "1s"'))
    async with gateway_bench(tmp_path, *changes) as bench:
        await bench.publish({bench.upstreams[0].port}, "counter-api")
        requests = [bench.client.post("/v1/counters/silent", timeout=60) for _ in range(12)]
        responses = await asyncio.gather(*requests)
    assert {gateway_problem(response) for response in responses} == {(504, "gateway-timeout")}
    assert {response.headers["Retry-After"] for response in responses} == {"1"}
    details = [response.json()["detail"] for response in responses]
    sent = sum("is not known" in detail for detail in details)
    assert sent == bench.received["POST /v1/counters/silent"]
    assert 0 < sent < 12
    assert sum("not sent to any" in detail for detail in details) == 12 - sent


async def test_a_connection_beyond_the_limit_is_closed_and_no_other_is(tmp_path: Path) -> None:
    """Envoy closes such a connection without an answer. Existing connections continue."""
    change = (r'"max_active_downstream_connections": \d+', '"max_active_downstream_connections": 3')
    async with gateway_bench(tmp_path, change) as bench:
        assert (await bench.client.get("/v1/users/1")).status_code == 200  # and its connection stays open
        others = [await asyncio.open_connection("127.0.0.1", bench.gateway.port) for _ in range(2)]
        beyond, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
        async with asyncio.timeout(30):
            with suppress(ConnectionResetError):
                assert await beyond.read() == b""
        writer.close()
        assert (await bench.client.get("/v1/users/1")).status_code == 200
        for reader, other in others:
            other.write(b"GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            other.close()


def test_streams_hold_at_most_half_of_the_connections_and_a_replica_takes_them_all() -> None:
    config = yaml.safe_load((repository_root() / "gateway" / "envoy.yaml").read_text())
    [monitor] = config["overload_manager"]["resource_monitors"]
    accepted = monitor["typed_config"]["max_active_downstream_connections"]
    [streams] = [each for each in config["static_resources"]["clusters"] if each["name"] == "counter-api-streams"]
    limits = {each.get("priority"): each for each in streams["circuit_breakers"]["thresholds"]}
    assert sum(each["max_requests"] for each in limits.values()) - limits["HIGH"]["max_requests"] <= accepted / 2
    assert limits[None]["max_requests"] <= feed.LARGEST
    # A request beyond max_requests must be refused at once. It must not wait for a connection.
    assert all(each["max_connections"] >= 2 * each["max_requests"] for each in limits.values())


def test_the_containers_health_does_not_hang_on_a_free_connection() -> None:
    resources: list[dict[str, Any]] = yaml.safe_load((repository_root() / "gateway" / "listeners.yaml").read_text())[
        "resources"
    ]
    exempt = {listener["name"] for listener in resources if listener.get("ignore_global_conn_limit")}
    assert exempt == {"ready"}


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
async def test_a_batch_of_the_longest_names(bench: Bench, headers: dict[str, str]) -> None:
    """The most that the service's model permits. With a key, it is repeated after a broken connection."""
    operation = {"name": "n" * 128, "by": -(2**63), "min": -(2**63), "max": 2**63 - 1, "ttl": 2**31}
    content = json.dumps({"operations": [operation] * 1000}).encode()
    assert 64 * 1024 < len(content) < 512 * 1024
    response = await bench.client.post("/v1/counters:batch", content=content, headers=headers)
    assert response.status_code == 200
    path = "/v1/counters:batch?reset-once"
    response = await bench.client.post(path, content=content.ljust(512 * 1024), headers=headers)
    assert (response.status_code, bench.received[f"POST {path}"]) == ((200, 2) if headers else (503, 1))


def _open(bench: Bench, method: str, path: str) -> Any:
    """A stream that has begun and stays open."""
    return bench.client.stream(method, path)


def _assert_too_many(response: httpx.Response) -> None:
    assert gateway_problem(response) == (503, "too-many-streams")
    assert (response.headers["Retry-After"], response.headers["Cache-Control"]) == ("1", "no-store")
    assert "not sent" in response.json()["detail"]


async def _until_there_is_room(bench: Bench, path: str) -> None:
    async with asyncio.timeout(30):
        while True:
            async with _open(bench, "GET", path) as response:
                if response.status_code == 200:
                    return
            await asyncio.sleep(0.1)
