"""Promise 1 of docs/coherence.md and its one exception: without PostgreSQL an old answer is served, marked stale."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from tests.support.child import Child
from tests.support.machine_time import machine_time
from tests.support.own_postgres import own_postgres
from tests.support.proxy import proxied
from tests.support.serving import Serve
from tests.support.witness import BOUND, TAKEOVER, Witness, fleet, relay_at_work, witnessing

from stack.layout import free_port
from verify.connection import Connection

pytestmark = pytest.mark.anyio


UNKNOWN = 1000
MERGE_PATCH = "application/merge-patch+json"


@pytest.fixture(scope="module")
async def _server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Child, str]]:
    """PostgreSQL of this module's own, and its URL; migrated."""
    async with own_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
async def server(_server: tuple[Child, str]) -> tuple[Child, str]:
    """Without users."""
    connection = await asyncpg.connect(_server[1])
    await connection.execute("TRUNCATE users RESTART IDENTITY")
    await connection.close()
    return _server


async def assert_known_and_marked(witness: Witness, user_id: int) -> None:
    async def ask(replica: str) -> None:
        async with Connection(replica) as connection:
            seen = await witness.ask(replica, connection, user_id)
        assert (seen.status, seen.name, seen.stale) == (200, witness.name(user_id), True), seen

    await asyncio.gather(*(ask(replica) for replica in witness.replicas))


async def assert_refused(replica: str, method: str, user_id: int, body: bytes = b"") -> None:
    async with Connection(replica) as connection, asyncio.timeout(20):
        reply = await connection.request(method, f"/v1/users/{user_id}", {"content-type": MERGE_PATCH}, body)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


@pytest.mark.slow
async def test_stopped_and_started_again(serve: Serve, server: tuple[Child, str]) -> None:
    child, url = server
    async with fleet(
        serve, *({"database_url": url, "cache_tiers": tiers} for tiers in ("memory,redis", "redis", "memory"))
    ) as replicas:
        async with witnessing(url, replicas) as witness:
            ids = await witness.create(2)
            await witness.warm_for_good(ids)
        for end in (child.stop, child.kill):
            async with witness.watching(ids):
                await end()
                await asyncio.sleep(BOUND)
                await assert_known_and_marked(witness, ids[1])
                await assert_refused(replicas[0], "PATCH", ids[0], b'{"name": "lost"}')
                for replica in replicas:
                    await assert_refused(replica, "GET", UNKNOWN)
                await child.start()
                async with witnessing(url, []) as again:
                    witness.sql = again.sql
                    await witness.rename(*ids)
                    await witness.verdict()
            await witness.settled(ids)


async def test_frozen_and_thawed(serve: Serve, server: tuple[Child, str]) -> None:
    child, url = server
    async with (
        fleet(
            serve, *({"database_url": url, "cache_tiers": tiers} for tiers in ("memory,redis", "redis", "memory"))
        ) as replicas,
        witnessing(url, replicas) as witness,
    ):
        ids = await witness.create(2)
        await witness.warm_for_good(ids)
        child.freeze()
        await asyncio.sleep(BOUND)
        await assert_known_and_marked(witness, ids[0])
        child.thaw()
        async with witness.watching(ids):
            await witness.rename(*ids)
            await witness.verdict()
        await witness.settled(ids)


@pytest.mark.slow
async def test_out_of_reach_of_one_replica(serve: Serve, database_url: str) -> None:
    """Others go on changing users. The replica that had the relay must not keep it."""
    async with AsyncExitStack() as stack:
        ways = [await stack.enter_async_context(proxied(database_url, free_port())) for _ in range(2)]
        for way in ways:
            await way.open()
        own: list[dict[str, Any]] = [{"database_url": way.url} for way in ways]
        replicas = await stack.enter_async_context(fleet(serve, *own))
        way = ways[replicas.index(await relay_at_work(replicas))]
        alone = await stack.enter_async_context(fleet(serve, {"database_url": way.url, "cache_tiers": "memory"}))
        witness = await stack.enter_async_context(witnessing(database_url, [*replicas, *alone]))
        ids = await witness.create(3)
        await witness.warm_for_good(ids)
        async with witness.watching(ids):
            await way.cut()
            await witness.rename(*ids[:2])
            witness.replicas = replicas
            async with machine_time() as elapsed:
                await witness.settled(ids)  # what cannot be read from PostgreSQL is found in Redis
                assert elapsed() < TAKEOVER
            await witness.verdict(alone)
            async with Connection(alone[0]) as connection:
                assert (await witness.ask(alone[0], connection, ids[0])).stale
            await way.open()
            await witness.rename(*ids)
            await witness.verdict([*replicas, *alone])
        await witness.settled(ids)
