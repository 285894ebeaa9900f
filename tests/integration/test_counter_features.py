"""Events, badges, uniques, export and import through the gateway, on three replicas."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.problems import problem

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

pytestmark = pytest.mark.anyio

IMPORT = "/v1/counters:import"
NDJSON = {"Content-Type": "application/x-ndjson"}


class EventSource:
    """Like a browser's: it reconnects when the stream says so, with the id of the last message."""

    def __init__(self, client: httpx.AsyncClient, name: str) -> None:
        self._client = client
        self._name = name
        self._headers: dict[str, str] = {}
        self._retry = 1.0
        self.served_by: list[str] = []
        self.values: list[int | None] = []

    async def run(self) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                await self._follow()
            await asyncio.sleep(self._retry)

    async def _follow(self) -> None:
        url = f"/v1/counters/{self._name}/events"
        async with self._client.stream("GET", url, headers=self._headers, timeout=30) as response:
            # A browser gives up after any other answer.
            assert response.status_code == 200
            assert response.headers["Content-Type"].startswith("text/event-stream")
            self.served_by.append(response.headers["X-Served-By"])
            async for line in response.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "retry":
                    self._retry = int(value) / 1000
                elif field == "id":
                    self._headers = {"Last-Event-ID": value}
                elif field == "data":
                    self.values.append(json.loads(value).get("value"))

    async def until(self, value: int | None, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while self.values[-1:] != [value]:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.02)


@pytest.fixture
async def source(client: httpx.AsyncClient, name: str) -> AsyncIterator[EventSource]:
    source = EventSource(client, name)
    running = asyncio.create_task(source.run())
    yield source
    assert not running.done()
    running.cancel()


async def test_events_come_from_every_replica_to_every_client(client: httpx.AsyncClient, name: str) -> None:
    sources = [EventSource(client, name) for _ in range(12)]
    running = [asyncio.create_task(source.run()) for source in sources]
    for value in (1, 2, 3):
        await client.post(f"/v1/counters/{name}/increment")
        await asyncio.gather(*(source.until(value) for source in sources))
    await client.delete(f"/v1/counters/{name}")
    await asyncio.gather(*(source.until(None) for source in sources))
    assert len({replica for source in sources for replica in source.served_by}) > 1
    for task in running:
        task.cancel()


@pytest.mark.slow
async def test_streams_outlive_a_rolling_restart_and_do_not_hold_it_up(
    stack: "Stack", client: httpx.AsyncClient, source: EventSource, name: str
) -> None:
    await client.put(f"/v1/counters/{name}", json={"value": 1})
    await source.until(1)
    await asyncio.to_thread(stack.run, "restart", "counter-api")
    await client.put(f"/v1/counters/{name}", json={"value": 2})
    await source.until(2)
    # The stream sends nothing: a client that reconnects has named the value that it has.
    assert source.values == [1, 2]
    assert len(source.served_by) > 1
    # uvicorn waits ten seconds for answers that do not end, and then logs it.
    logs = [path.read_text() for path in stack.directory.rglob("counter-api-*.log")]
    assert sum(log.count("Shutting down") for log in logs) >= 3
    assert not any("graceful shutdown exceeded" in log for log in logs)


async def test_streams_outlive_a_killed_replica(
    stack: "Stack", client: httpx.AsyncClient, source: EventSource, name: str
) -> None:
    await client.put(f"/v1/counters/{name}", json={"value": 1})
    await source.until(1)
    [serving] = [each for each in stack.processes("counter-api") if each["name"] == source.served_by[-1]]
    os.kill(serving["pid"], signal.SIGKILL)
    await client.put(f"/v1/counters/{name}", json={"value": 2}, headers={"Idempotency-Key": f"two-{name}"})
    await source.until(2)
    assert source.values == [1, 2]


async def test_a_stream_ends_with_its_client(client: httpx.AsyncClient, name: str) -> None:
    """A hundred clients one after the other, through a gateway with few connections to replicas."""
    for _ in range(100):
        async with client.stream("GET", f"/v1/counters/{name}/events") as response:
            assert response.status_code == 200
            assert (await anext(response.aiter_lines())).startswith("retry: ")


async def test_badge(client: httpx.AsyncClient, name: str) -> None:
    path = f"/v1/counters/{name}/badge.svg"
    first = await client.get(path, params={"label": "<b>"})
    assert (first.status_code, first.headers["Content-Type"]) == (200, "image/svg+xml")
    assert first.headers["Cache-Control"] == "no-store"
    assert "&lt;b&gt;" in first.text
    assert ">0</text>" in first.text
    hits = await asyncio.gather(*(client.get(path, params={"hit": "true"}) for _ in range(20)))
    assert {hit.status_code for hit in hits} == {200}
    assert (await client.head(path, params={"hit": "true"})).status_code == 200
    assert (await client.get(f"/v1/counters/{name}")).json() == {"name": name, "value": 20}
    assert problem(await client.get(path, params={"label": "x" * 65})) == (422, "validation")


async def test_uniques(client: httpx.AsyncClient, name: str) -> None:
    path = f"/v1/uniques/{name}"
    bodies = [{"member": f"{n % 10}@example.com"} for n in range(60)]
    answers = await asyncio.gather(*(client.post(path, json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["X-Served-By"] for answer in answers}) > 1
    assert (await client.get(path)).json() == {"name": name, "value": 10, "approximate": True, "error": 0.0081}
    assert (await client.delete(path)).status_code == 204
    assert problem(await client.get(path)) == (404, "not-found")
    assert problem(await client.post(path, json={})) == (422, "validation")


def numbered(name: str, begin: int, end: int) -> bytes:
    return b"".join(b'{"name":"%b:%d","value":%d}\n' % (name.encode(), n, n) for n in range(begin, end))


async def test_export_and_import(client: httpx.AsyncClient, name: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        for begin in range(0, 10_000, 1000):
            yield numbered(name, begin, begin + 1000)

    key = NDJSON | {"Idempotency-Key": f"import-{name}"}
    first = await client.post(IMPORT, content=body(), headers=key)
    assert (first.status_code, first.json()) == (200, {"imported": 10_000})
    await client.post(f"/v1/counters/{name}:7/increment")
    replays = [await client.post(IMPORT, content=body(), headers=key) for _ in range(3)]
    assert {replay.headers["Idempotency-Replayed"] for replay in replays} == {"true"}
    lines: list[str] = []
    async with client.stream("GET", f"/v1/counters:export?prefix={name}:") as response:
        assert (response.status_code, response.headers["Content-Type"]) == (200, "application/x-ndjson")
        lines = [line async for line in response.aiter_lines()]
    values = {entry["name"]: entry["value"] for entry in map(json.loads, lines)}
    assert values == {f"{name}:{n}": 8 if n == 7 else n for n in range(10_000)}
    other = await client.post(IMPORT, content=numbered(name, 0, 9999), headers=key)
    assert problem(other) == (422, "idempotency-mismatch")


@pytest.mark.parametrize("size", [1000, 5_000_000])
async def test_a_bad_line_is_answered_before_the_body_has_ended(
    client: httpx.AsyncClient, name: str, size: int
) -> None:
    content = numbered(name, 0, 3) + b"nonsense\n" + b'{"name":"x","value":1}\n' * (size // 23)
    response = await client.post(IMPORT, content=content, headers=NDJSON)
    assert problem(response) == (422, "malformed-json")
    assert (response.json()["line"], response.json()["applied"]) == (4, 3)
    assert (await client.get(f"/v1/counters/{name}:2")).json()["value"] == 2


@pytest.mark.slow
async def test_an_import_outlives_its_replica(stack: "Stack", client: httpx.AsyncClient, name: str) -> None:
    """The gateway cannot repeat a body that it has not kept. So the client does it, and no value is set twice."""
    arrived = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield numbered(name, 0, 5000)
        while (await client.get(f"/v1/counters/{name}:4999")).status_code != 200:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.02)
        arrived.set()
        await asyncio.sleep(1)
        yield numbered(name, 5000, 10_000)

    key = NDJSON | {"Idempotency-Key": f"import-{name}"}
    importing = asyncio.create_task(client.post(IMPORT, content=body(), headers=key))
    await arrived.wait()
    for process in stack.processes("counter-api"):
        os.kill(process["pid"], signal.SIGKILL)
    # the gateway may close the connection while the body is still coming
    with contextlib.suppress(httpx.TransportError):
        assert problem(await importing)[0] == 503
    async with asyncio.timeout(30):
        while {each["state"] for each in await asyncio.to_thread(stack.processes, "counter-api")} != {"healthy"}:  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.1)
    await client.post(f"/v1/counters/{name}:7/increment", headers={"Idempotency-Key": f"seven-{name}"})
    again = await client.post(IMPORT, content=numbered(name, 0, 10_000), headers=key)
    assert (again.status_code, again.json()) == (200, {"imported": 10_000})
    assert [(await client.get(f"/v1/counters/{name}:{n}")).json()["value"] for n in (7, 9999)] == [8, 9999]
