"""Invariants 1 and 2 where reads come from a sidecar, on a Unix socket, that may lag, be cut off, or die."""

import asyncio
from functools import partial
from typing import Any

import pytest
from tests.support.redis_pair import RedisPair
from tests.support.serving import Serve
from tests.support.witness import Witness, eventually, fleet, witnessing

from verify.connection import Connection

pytestmark = pytest.mark.anyio


def beside(pair: RedisPair, **changes: Any) -> dict[str, Any]:
    """Settings of a replica that has the sidecar."""
    return {"cache_url": pair.primary.url, "cache_read_url": pair.replica.socket_url} | changes


@pytest.mark.slow
async def test_cut_off_from_its_primary(serve: Serve, database_url: str, pair: RedisPair) -> None:
    """It has the old entries. Within two seconds it is not trusted any more, and reads go to the primary."""
    async with (
        fleet(serve, beside(pair), beside(pair, cache_tiers="redis"), {"cache_url": pair.primary.url}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        by_hand, own, others = ids = await witness.create(3)
        await witness.warm(ids)
        await eventually(pair.in_step)
        async with witness.watching(ids):
            pair.link.hold()
            await witness.rename(by_hand)
            assert await witness.patch(replicas[0], own) == 200
            assert await witness.patch(replicas[2], others) == 200
            await witness.verdict()
            await eventually(partial(_reads_the_primary, witness, replicas[1], by_hand))
            await witness.rename(by_hand)
            pair.link.release()  # all that it has missed arrives now, late
            await witness.verdict()
        await witness.settled(ids)


@pytest.mark.slow
async def test_made_anew_while_trust_lasts(serve: Serve, database_url: str, pair: RedisPair) -> None:
    """A full synchronisation pushes no invalidations: process memory must not outlive it."""
    async with (
        fleet(serve, beside(pair), beside(pair)) as replicas,
        witnessing(database_url, replicas) as witness,
        pair.primary.client() as primary,
    ):
        ids = await witness.create(3)
        await witness.warm(ids)
        await eventually(pair.in_step)
        async with witness.watching(ids):
            for user_id in ids:
                pair.link.hold()
                await witness.rename(user_id)
                await asyncio.sleep(0.3)
                await pair.primary.forget_history()
                # By another way, for a link that is cut is made again a second later, when nothing is trusted.
                await pair.replica.follow(pair.primary.url)
                await eventually(pair.in_step)
                pair.link.reset()
                pair.link.release()
                await pair.replica.follow(pair.link.url)
                await eventually(pair.in_step)
                await witness.warm(ids)
            await witness.verdict()
        assert (await primary.info("stats"))["sync_full"] == 1 + len(ids)  # the first one, and those
        await witness.settled(ids)


async def test_dead(serve: Serve, database_url: str, pair: RedisPair) -> None:
    async with (
        fleet(serve, beside(pair), beside(pair, cache_tiers="redis")) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        by_hand, own = ids = await witness.create(2)
        await witness.warm(ids)
        async with witness.watching(ids):
            await pair.replica.kill()
            await witness.rename(by_hand)
            assert await witness.patch(replicas[0], own) == 200
            await witness.verdict()
            await eventually(partial(_reads_the_primary, witness, replicas[1], by_hand))
            await pair.replica.start()
            await witness.verdict()
        await witness.settled(ids)


@pytest.mark.parametrize("tiers", ["memory,redis", "redis"])
async def test_own_write_is_read_back_at_once(serve: Serve, database_url: str, pair: RedisPair, tiers: str) -> None:
    """While the sidecar lags, but by its own data may still be trusted."""
    async with (
        fleet(serve, beside(pair, cache_tiers=tiers)) as [replica],
        witnessing(database_url, [replica]) as witness,
        Connection(replica) as connection,
    ):
        ids = await witness.create(20)
        await witness.warm(ids)
        await eventually(pair.in_step)
        pair.link.hold()
        for user_id in ids:
            assert await witness.patch(replica, user_id) == 200
            for _ in range(2):
                seen = await witness.ask(replica, connection, user_id)
                assert seen.name == witness.name(user_id), seen


async def _reads_the_primary(witness: Witness, replica: str, user_id: int) -> bool:
    """On a busy machine, trust in the primary may end for a moment. Then PostgreSQL answers."""
    async with Connection(replica) as connection:
        return (await witness.ask(replica, connection, user_id)).source == "redis"
