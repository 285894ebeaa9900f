"""COUNTER_API_REPLICA_ACKS: an acknowledged change is on the disk of a replica too."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.counters_redis import CountersPair, counters_pair, own_servers
from tests.support.machine_time import machine_time
from tests.support.serving import Serve

pytestmark = [pytest.mark.anyio, own_servers]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[CountersPair]:
    async with counters_pair(tmp_path) as pair:
        while not await pair.in_step():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.02)
        yield pair


async def add(client: httpx.AsyncClient, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post("/v1/counters/a/increment", headers=headers)


async def test_what_is_acknowledged_is_on_the_replica(serve: Serve, pair: CountersPair) -> None:
    async with serve(redis_url=pair.primary.url, replica_acks=1) as client, pair.replica.client() as replica:
        while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.1)
        async with machine_time() as elapsed:
            for value in range(1, 21):
                assert (await add(client)).json()["value"] == value
                assert int(await replica.get("{a}") or 0) == value
            # Each WAITAOF that comes too early would take a second.
            assert elapsed() < 8
        answers = await asyncio.gather(*(add(client) for _ in range(100)))
        assert int(await replica.get("{a}") or 0) == 120
        assert sorted(answer.json()["value"] for answer in answers) == [*range(21, 121)]


@pytest.mark.slow
async def test_without_the_replica_the_outcome_is_unknown_and_a_retry_settles_it(
    serve: Serve, pair: CountersPair
) -> None:
    async with serve(redis_url=pair.primary.url, replica_acks=1, patience=1.5) as client:
        assert (await add(client)).json()["value"] == 1
        await pair.replica.kill()
        unknown = await add(client, "k")
        assert unknown.status_code == 503
        assert "whether this was applied is unknown: Too few replicas have confirmed it" in unknown.json()["detail"]
        ready = await client.get("/readyz")
        assert (ready.status_code, list(ready.json()["checks"])) == (503, ["redis-settings"])
        # Reads go on.
        assert (await client.get("/v1/counters/a")).json()["value"] == 2
        await pair.replica.start()
        while (settled := await add(client, "k")).status_code == 503:  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.1)
        assert (settled.json()["value"], settled.headers["Idempotency-Replayed"]) == (2, "true")
        async with pair.replica.client() as replica:
            assert await replica.get("{a}") == b"2"


@pytest.mark.slow
async def test_a_replay_is_not_acknowledged_before_the_replica_has_it(serve: Serve, pair: CountersPair) -> None:
    """WAITAOF waits for the last write of its own connection: a replay that writes nothing would not wait at all."""
    options = {"redis_url": pair.primary.url, "replica_acks": 1, "patience": 1.0}
    async with serve(**options) as one, serve(**options, replica_name="replica-b") as two:
        assert ((await add(one)).json()["value"], (await add(two)).json()["value"]) == (1, 2)
        pair.link.hold()
        assert (await add(one, "k")).status_code == 503
        # The record exists now, but on the primary only.
        async with pair.primary.client() as primary:
            assert await primary.get("{a}") == b"3"
        assert (await add(two, "k")).status_code == 503
        assert (await add(one, "k")).status_code == 503
        pair.link.release()
        settled = await add(two, "k")
        while settled.status_code == 503:
            settled = await add(two, "k")
        assert (settled.json()["value"], settled.headers["Idempotency-Replayed"]) == (3, "true")
        async with pair.replica.client() as replica:
            assert await replica.get("{a}") == b"3"
