"""Events, unique members, export and import while counters move from server to server: in a cluster, under Sentinel."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from redis.crc import key_slot
from tests.support.counters_redis import PASSWORD, Cluster, CountersServer, counters_pair, own_servers
from tests.support.sentinel import Sentinel
from tests.support.serving import Serve

from counter_api.events import server_watch
from counter_api.transfer import importing

pytestmark = [pytest.mark.anyio, own_servers]

NDJSON = {"Content-Type": "application/x-ndjson"}
KEY = {"Idempotency-Key": "k"} | NDJSON
NAMES = [f"n{number}" for number in range(900)]


def node_of(cluster: Cluster, name: str) -> CountersServer:
    return cluster.nodes[key_slot(f"{{{name}}}".encode()) * 3 // 16384]


@asynccontextmanager
async def listening(client: httpx.AsyncClient, name: str) -> AsyncIterator[list[int | None]]:
    """The values as they come."""
    values: list[int | None] = []

    async def listen(response: httpx.Response) -> None:
        async for line in response.aiter_lines():
            name, _, text = line.partition(": ")
            values.extend([json.loads(text).get("value")] if name == "data" else [])

    async with client.stream("GET", f"/v1/counters/{name}/events") as response:
        assert response.status_code == 200
        listener = asyncio.create_task(listen(response))
        yield values
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def until(values: list[int | None], value: int | None) -> None:
    async with asyncio.timeout(15):
        while values[-1:] != [value]:  # noqa: ASYNC110 (what comes over the wire)
            await asyncio.sleep(0.02)


async def exported(client: httpx.AsyncClient) -> dict[str, int]:
    response = await client.get("/v1/counters:export")
    assert response.status_code == 200
    entries = [json.loads(line) for line in response.text.splitlines()]
    return {entry["name"]: entry["value"] for entry in entries}


def ndjson(counters: dict[str, int]) -> bytes:
    return b"".join(b'{"name":"%b","value":%d}\n' % (name.encode(), value) for name, value in counters.items())


@pytest.mark.slow
async def test_unique_members(serve: Serve, emptied: Cluster) -> None:
    key = base64.b64encode(b"u" * 32).decode()
    async with serve(redis_url=emptied.url, uniques_key=key) as client:
        for name in NAMES[:9]:
            for member in ("x", "y", "x"):
                answer = await client.post(f"/v1/uniques/{name}", json={"member": member})
                assert answer.status_code == 200
            assert (await client.get(f"/v1/uniques/{name}")).json()["value"] == 2
            assert (await client.delete(f"/v1/uniques/{name}")).status_code == 204


async def test_what_was_exported_can_be_imported(serve: Serve, emptied: Cluster) -> None:
    wanted = {name: place for place, name in enumerate(NAMES)}
    async with serve(redis_url=emptied.url) as client:
        first = await client.post("/v1/counters:import", content=ndjson(wanted), headers=KEY)
        assert (first.status_code, first.json()) == (200, {"imported": len(NAMES)})
        assert await exported(client) == wanted
        await client.post("/v1/counters/n7/increment")
        again = await client.post("/v1/counters:import", content=ndjson(wanted), headers=KEY)
        assert again.headers["Idempotency-Replayed"] == "true"
        assert await exported(client) == wanted | {"n7": 8}
        assert min([await emptied.call(node, "DBSIZE") for node in emptied.nodes]) > 0


async def test_an_import_that_a_node_breaks_off_sets_nothing_twice(
    serve: Serve, emptied: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of a batch is set and incremented before the rest is set."""
    monkeypatch.setattr(importing, "FIRST_PAUSE", 0.01)
    for each in emptied.nodes:
        await emptied.call(each, "CONFIG", "SET", "cluster-require-full-coverage", "no")
    wanted = {name: place for place, name in enumerate(NAMES)}
    async with serve(redis_url=emptied.url) as client:
        dead = node_of(emptied, "n0")
        there = [name for name in NAMES if node_of(emptied, name) is not dead]
        await dead.kill()
        broken = await client.post("/v1/counters:import", content=ndjson(wanted), headers=KEY)
        assert (broken.status_code, broken.json()["applied"]) == (503, 0)
        for name in there[:3]:
            assert (await client.post(f"/v1/counters/{name}/increment")).json()["value"] == wanted[name] + 1
        await dead.start()
        while not await emptied.agrees():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(
            *(client.post("/v1/counters:import", content=ndjson(wanted), headers=KEY) for _ in range(3))
        )
        assert [answer.json() for answer in answers] == [{"imported": len(NAMES)}] * 3
        assert await exported(client) == wanted | {name: wanted[name] + 1 for name in there[:3]}


async def test_another_body_replaces_what_was_not_acknowledged(
    serve: Serve, emptied: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "FIRST_PAUSE", 0.01)
    names = NAMES[:50]
    await emptied.call(node_of(emptied, "n0"), "SET", "{n0}", "somebody else's")
    async with serve(redis_url=emptied.url) as client:
        first = await client.post("/v1/counters:import", content=ndjson(dict.fromkeys(names, 1)), headers=KEY)
        assert (first.status_code, first.json()["line"], first.json()["applied"]) == (409, 1, 0)
        mended = dict.fromkeys(names[1:], 2)
        second = await client.post("/v1/counters:import", content=ndjson(mended), headers=KEY)
        assert second.json() == {"imported": 49}
        assert await exported(client) == mended


async def test_export_while_a_slot_moves(serve: Serve, emptied: Cluster) -> None:
    """Half way, the keys are on one node, and the slot is still on the other."""
    source = node_of(emptied, "n1")
    target = next(node for node in emptied.nodes if node is not source)
    slot = key_slot(b"{n1}")
    wanted = {name: place for place, name in enumerate(NAMES)}
    async with serve(redis_url=emptied.url) as client:
        await client.post("/v1/counters:import", content=ndjson(wanted), headers=NDJSON)
        for there, back in ((source, target), (target, source)):
            there_name, back_name = await emptied.name(there), await emptied.name(back)
            await emptied.call(back, "CLUSTER", "SETSLOT", slot, "IMPORTING", there_name)
            await emptied.call(there, "CLUSTER", "SETSLOT", slot, "MIGRATING", back_name)
            arguments = ("MIGRATE", "127.0.0.1", back.port, "", 0, 5000, "AUTH", "test", "KEYS", "{n1}")
            await emptied.call(there, *arguments)
            assert await exported(client) == wanted
            await emptied.move(slot, there, back)
            assert await exported(client) == wanted


async def test_events_follow_their_counter(serve: Serve, emptied: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_watch, "READ_ANYWAY", 0.5)
    source = node_of(emptied, "n1")
    target = next(node for node in emptied.nodes if node is not source)
    slot = key_slot(b"{n1}")
    stays = next(name for name in NAMES if node_of(emptied, name) is target)
    async with (
        serve(redis_url=emptied.url) as client,
        listening(client, "n1") as moving,
        listening(client, stays) as staying,
    ):
        for value, (there, back) in enumerate(((source, target), (target, source)), 1):
            for name, values in (("n1", moving), (stays, staying)):
                await client.put(f"/v1/counters/{name}", json={"value": value})
                await until(values, value)
            await emptied.move(slot, there, back)
            await client.put("/v1/counters/n1", json={"value": -value})
            await until(moving, -value)
        # The move itself causes no message.
        assert (moving, staying) == ([1, -1, 2, -2], [1, 2])


async def test_events_follow_a_slot_that_moves_as_a_whole(
    serve: Serve, emptied: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Valkey 9 moves slots. The old server pushes nothing about a counter that does not exist."""
    monkeypatch.setattr(server_watch, "READ_ANYWAY", 0.5)
    source = node_of(emptied, "n1")
    target = next(node for node in emptied.nodes if node is not source)
    slot = key_slot(b"{n1}")
    async with serve(redis_url=emptied.url) as client, listening(client, "n1") as values:
        for value, (there, back) in enumerate(((source, target), (target, source)), 1):
            name = await emptied.name(back)
            await emptied.call(there, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", name)
            async with asyncio.timeout(10):
                while slot not in await slots_of(emptied, back):  # noqa: ASYNC110 (there is no event to wait for)
                    await asyncio.sleep(0.02)
            await emptied.call(back, "SET", "{n1}", value)
            await until(values, value)
            await emptied.call(back, "DEL", "{n1}")
            await until(values, None)


async def slots_of(cluster: Cluster, node: CountersServer) -> set[int]:
    ranges = await cluster.call(node, "CLUSTER", "SLOTS")
    return {slot for first, last, owner, *_ in ranges if owner[1] == node.port for slot in range(first, last + 1)}


async def test_events_outlive_a_node(serve: Serve, emptied: Cluster) -> None:
    async with serve(redis_url=emptied.url) as client, listening(client, "n1") as values:
        await client.put("/v1/counters/n1", json={"value": 1})
        await until(values, 1)
        node = node_of(emptied, "n1")
        await node.kill()
        await node.start()
        while not await emptied.agrees():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.05)
        await emptied.call(node, "SET", "{n1}", 2)
        await until(values, 2)


@pytest.mark.slow
async def test_events_and_an_import_across_a_failover(serve: Serve, tmp_path: Path) -> None:
    async with (
        counters_pair(tmp_path, direct=True) as pair,
        Sentinel(tmp_path, pair.primary, password=PASSWORD) as sentinel,
    ):
        while not (await sentinel.knows_replica() and await pair.in_step()):  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.05)
        wanted = {name: place for place, name in enumerate(NAMES[:700])}
        options = {"redis_url": sentinel.url(PASSWORD), "sentinel_password": sentinel.password, "replica_acks": 1}
        async with serve(**options) as client, listening(client, "n1") as values:
            first = await client.post("/v1/counters:import", content=ndjson(wanted), headers=KEY)
            assert first.json() == {"imported": 700}
            await until(values, 1)
            await pair.primary.kill()
            async with asyncio.timeout(20):
                while await sentinel.primary_port() != pair.replica.port:  # noqa: ASYNC110 (there is no event to wait for)
                    await asyncio.sleep(0.05)
            async with pair.replica.client() as redis:
                await redis.set("{n1}", 5)
            await until(values, 5)
            assert await exported(client) == wanted | {"n1": 5}
