"""A load that has read the old row must leave it nowhere, however late it comes and whatever has been evicted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis
from tests.support.cache_names import cache_names
from tests.support.serving import Serve
from tests.support.witness import BOUND, Seen, Witness, eventually, fleet, witnessing

from user_api.store import StoredUser, UserStore
from verify.connection import Connection

pytestmark = pytest.mark.anyio

TIERS = ["memory,redis", "redis", "memory"]

RELAYED = 0.5
"""Seconds in which the relay looks at the log several times."""


class HeldLoads:
    """Loads that have read their rows, and are kept from coming back with them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read = UserStore.read
        self._released = asyncio.Event()
        self._released.set()
        self.held = 0

        async def held_read(store: UserStore, ids: Sequence[int]) -> list[StoredUser]:
            rows = await read(store, ids)
            if not self._released.is_set():
                released = self._released
                self.held += 1
                await released.wait()
            return rows

        monkeypatch.setattr(UserStore, "read", held_read)

    @asynccontextmanager
    async def holding(self, witness: Witness, replica: str, user_id: int) -> AsyncIterator["asyncio.Task[Seen]"]:
        """A read of the user through the replica, whose load is held until the block ends. Later loads are not."""
        self._released = asyncio.Event()
        held = self.held
        async with Connection(replica) as connection:
            reading = asyncio.create_task(witness.ask(replica, connection, user_id))

            async def is_held() -> bool:
                return self.held == held + 1

            await eventually(is_held)
            released, self._released = self._released, asyncio.Event()
            self._released.set()
            try:
                yield reading
            finally:
                released.set()
                await reading


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> HeldLoads:
    return HeldLoads(monkeypatch)


async def ask(witness: Witness, replica: str, user_id: int) -> Seen:
    async with Connection(replica) as connection:
        return await witness.ask(replica, connection, user_id)


async def assert_new_everywhere(witness: Witness, user_id: int) -> None:
    for replica in witness.replicas:
        for _ in range(3):
            seen = await ask(witness, replica, user_id)
            assert seen.name == witness.name(user_id), (replica, seen)


@pytest.mark.parametrize("tiers", TIERS)
async def test_change_while_a_load_is_held(serve: Serve, database_url: str, loads: HeldLoads, tiers: str) -> None:
    """Made through the same replica, through another one, and by hand."""
    own = {"cache_tiers": tiers}
    async with fleet(serve, own, own) as replicas, witnessing(database_url, replicas) as witness:
        here, there = replicas
        ids = await witness.create(3)
        await asyncio.sleep(RELAYED)
        through_here, through_there, by_hand = ids
        async with loads.holding(witness, here, through_here):
            assert await witness.patch(here, through_here) == 200
        await assert_new_everywhere(witness, through_here)
        async with loads.holding(witness, here, through_there):
            assert await witness.patch(there, through_there) == 200
            await asyncio.sleep(RELAYED if tiers == "memory" else 0)
        async with loads.holding(witness, here, by_hand):
            await witness.rename(by_hand)
            await asyncio.sleep(RELAYED)
        await assert_new_everywhere(witness, through_there)
        await assert_new_everywhere(witness, by_hand)


@pytest.mark.parametrize("change", ["through a replica", "by hand"])
async def test_lease_evicted_meanwhile(
    serve: Serve, database_url: str, cache_url: str, loads: HeldLoads, change: str
) -> None:
    """Then another fill may have taken the next one, and landed, before the first one comes with the old row."""
    own = {"cache_tiers": "redis"}
    async with (
        fleet(serve, own, own) as replicas,
        witnessing(database_url, replicas) as witness,
        Redis.from_url(cache_url) as redis,
    ):
        here, there = replicas
        names = await cache_names(redis)
        plain, filled, filling = await witness.create(3)
        await asyncio.sleep(RELAYED)

        async def changed(user_id: int) -> None:
            if change == "by hand":
                await witness.rename(user_id)
                await asyncio.sleep(RELAYED)
            else:
                assert await witness.patch(there, user_id) == 200

        async with loads.holding(witness, here, plain):
            assert await redis.delete(names.lease(str(plain))) == 1
            await changed(plain)
        await assert_new_everywhere(witness, plain)

        async with loads.holding(witness, here, filled):
            assert await redis.delete(names.lease(str(filled))) == 1
            await changed(filled)
            assert (await ask(witness, there, filled)).source == "database"
            assert await redis.delete(names.entry(str(filled))) == 1  # and its entry is evicted, too
        await assert_new_everywhere(witness, filled)

        # Two fills at once: the lease is the second one's, and the first one, which is older, comes while it is held.
        async with AsyncExitStack() as first:
            await first.enter_async_context(loads.holding(witness, here, filling))
            assert await redis.delete(names.lease(str(filling))) == 1
            await changed(filling)
            async with loads.holding(witness, there, filling):
                await first.aclose()
                assert await redis.exists(names.entry(str(filling))) == 0
        await assert_new_everywhere(witness, filling)


async def test_nobody_joins_a_load_from_before_an_invalidation(
    serve: Serve, database_url: str, loads: HeldLoads
) -> None:
    async with (
        fleet(serve, *({"cache_tiers": tiers} for tiers in TIERS)) as replicas,
        witnessing(database_url, replicas) as witness,
        AsyncExitStack() as held,
    ):
        for replica in replicas:
            [own] = await witness.create(1)
            async with loads.holding(witness, replica, own) as reading:
                assert await witness.patch(replica, own) == 200
                assert (await ask(witness, replica, own)).name == witness.name(own)
                assert not reading.done()
        by_hand = await witness.create(len(replicas))
        for replica, user_id in zip(replicas, by_hand, strict=True):
            await held.enter_async_context(loads.holding(witness, replica, user_id))
        await witness.rename(*by_hand)
        await asyncio.sleep(BOUND)
        for replica, user_id in zip(replicas, by_hand, strict=True):
            assert (await ask(witness, replica, user_id)).name == witness.name(user_id)


async def test_absence_is_not_remembered_over_a_creation(serve: Serve, database_url: str, loads: HeldLoads) -> None:
    """The load has found no user. Then the user is created."""
    async with (
        fleet(serve, {}, {"cache_tiers": "memory"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        for replica in replicas:
            [last] = await witness.create(1)
            async with loads.holding(witness, replica, last + 1):
                assert await witness.create(1) == [last + 1]
                await asyncio.sleep(RELAYED)
            await assert_new_everywhere(witness, last + 1)
