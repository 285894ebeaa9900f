"""Promise 1 of docs/coherence.md when replicas die or freeze: a writer at the worst moment, the relay at any."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.support.replica import DIE_BEFORE_INVALIDATION, Replica
from tests.support.serving import Serve
from tests.support.witness import BOUND, fleet, relay_at_work, witnessing

from user_api.settings import Settings

pytestmark = pytest.mark.anyio


async def test_writer_killed_between_commit_and_invalidation(
    serve: Serve, make_settings: Callable[..., Settings], database_url: str, tmp_path: Path
) -> None:
    async with (
        fleet(serve, {}, {"cache_tiers": "redis"}, {"cache_tiers": "memory"}) as replicas,
        Replica(make_settings(replica_name="writer"), tmp_path, DIE_BEFORE_INVALIDATION) as writer,
        witnessing(database_url, replicas) as witness,
    ):
        ids = await witness.create(2)
        await witness.warm(ids)
        async with witness.watching(ids):
            assert await witness.patch(writer.url, ids[0]) == 0
            assert await writer.ended() == -signal.SIGKILL
            name = await witness.sql.fetchval("SELECT name FROM users WHERE id = $1", ids[0])
            assert name != witness.name(ids[0])  # it was committed
            witness.changed(ids[0], name)
            await witness.verdict()
        await witness.settled(ids)


@pytest.mark.slow
async def test_relay_killed_then_frozen_then_two_at_once(
    make_settings: Callable[..., Settings], database_url: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        replicas = [Replica(make_settings(replica_name=name), tmp_path) for name in ("first", "second", "third")]
        for replica in replicas:
            stack.push_async_callback(replica.stop)
        await asyncio.gather(*(replica.start() for replica in replicas))
        by_url = {replica.url: replica for replica in replicas}
        witness = await stack.enter_async_context(witnessing(database_url, list(by_url)))
        ids = await witness.create(4)
        await witness.warm(ids)
        async with witness.watching(ids):
            killed = by_url.pop(await relay_at_work(by_url))
            await killed.kill()
            await witness.rename(ids[0])
            frozen = by_url.pop(await relay_at_work(by_url))
            frozen.freeze()
            await witness.rename(ids[1])
            [survivor] = by_url.values()
            await relay_at_work([survivor.url])
            await asyncio.sleep(BOUND)
            await witness.rename(ids[2])
            frozen.thaw()  # it goes on with what it had read before, while the other one is at work
            await witness.rename(ids[3])
            await witness.verdict([survivor.url, frozen.url])
        witness.replicas = [survivor.url, frozen.url]
        await witness.settled(ids)
