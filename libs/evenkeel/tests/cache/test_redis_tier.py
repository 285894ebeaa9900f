"""The Redis tier while epochs and databases change: what it believes, and whom."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from tests.support.lossy_proxy import LossyProxy

from evenkeel.cache.entry import Entry, TierUnavailable
from evenkeel.cache.keyring import KeyRing
from evenkeel.cache.keys import CurrentNames, Names, new_epoch
from evenkeel.cache.metrics import CacheMetrics, Metrics
from evenkeel.cache.redis_tier import Lease, Lifetime, RedisTier
from evenkeel.cache.sealing import Sealing
from evenkeel.redis.connecting import connect

pytestmark = pytest.mark.anyio

HERE, THERE = "00000000000000aa", "00000000000000bb"
ENTRY = Entry(1, b"payload")
LIFETIME = Lifetime(60, 60)


@dataclass
class Server:
    """A Redis, and what a relay does there."""

    redis: Redis
    names: Names

    async def begin(self, epoch: str) -> None:
        self.names = self.names.at(epoch)
        await cast("Any", self.redis.hset(self.names.state, mapping={"epoch": epoch, "state": "s"}))
        await self.redis.set(self.names.alive, epoch, px=60_000)


@pytest.fixture
async def primary(cache_url: str) -> AsyncIterator[Server]:
    async with Redis.from_url(cache_url) as redis:
        server = Server(redis, Names("user", HERE))
        await server.begin(new_epoch())
        yield server


@pytest.fixture
async def sidecar(counters_url: str) -> AsyncIterator[Server]:
    """Lags: here it is another server, whose epoch the test sets."""
    async with Redis.from_url(counters_url) as redis:
        yield Server(redis, Names("user", HERE))


@pytest.fixture
def current() -> CurrentNames:
    current = CurrentNames("user")
    current.identified(HERE)
    return current


def tier_of(current: CurrentNames, primary: Server, sidecar: Server | None = None) -> RedisTier:
    metrics = CacheMetrics(Metrics(CollectorRegistry()), "user")
    return RedisTier(
        primary=primary.redis,
        reader=sidecar.redis if sidecar is not None else None,
        current=current,
        sealing=Sealing(KeyRing([b"k" * 32]), metrics),
        metrics=metrics,
    )


@pytest.fixture
async def tier(current: CurrentNames, primary: Server) -> AsyncIterator[RedisTier]:
    tier = tier_of(current, primary)
    yield tier
    await tier.close()


async def fill(tier: RedisTier, key: str) -> Lease:
    """Store the entry; the lease that it took."""
    leases = await tier.lease([key], frozenset())
    assert leases is not None
    lease = leases[key]
    assert isinstance(lease, Lease)
    assert await tier.store({key: (lease, ENTRY, LIFETIME)}) == {key}
    return lease


async def test_a_read_learns_the_epoch(tier: RedisTier, primary: Server, current: CurrentNames) -> None:
    lookup = await tier.read(["1"])
    assert (lookup.trusted, lookup.hits) == (True, {})
    assert current.now is not None
    assert current.now.epoch == primary.names.epoch
    await fill(tier, "1")
    assert (await tier.read(["1"])).hits["1"].entry.payload == ENTRY.payload
    await primary.begin(new_epoch())
    lookup = await tier.read(["1"])
    assert (lookup.trusted, lookup.hits) == (True, {})
    assert current.now.epoch == primary.names.epoch
    await primary.redis.delete(primary.names.alive)
    assert not (await tier.read(["1"])).trusted
    assert await tier.lease(["1"], frozenset()) is None


async def test_a_lease_is_given_at_the_epoch_that_is(tier: RedisTier, primary: Server) -> None:
    lease = await fill(tier, "1")
    assert lease.names.epoch == primary.names.epoch
    leases = await tier.lease(["2"], frozenset())
    assert leases is not None
    late = cast("Lease", leases["2"])
    await primary.begin(new_epoch())
    assert (await fill(tier, "3")).names.epoch == primary.names.epoch != lease.names.epoch
    assert await primary.redis.exists(lease.names.lease("3")) == 0  # nothing was taken where it would be swept
    # A fill that comes after its epoch leaves nothing, so that a sweep which has passed has swept everything.
    assert await tier.store({"2": (late, ENTRY, LIFETIME)}) == set()
    assert await primary.redis.exists(late.names.entry("2"), late.names.lease("2"), primary.names.entry("2")) == 0


async def test_a_range_is_forgotten_with_the_fills_under_way(tier: RedisTier, primary: Server) -> None:
    for key in ("9", "15", "x"):
        await fill(tier, key)
    leases = await tier.lease(["16"], frozenset())
    assert leases is not None
    late = cast("Lease", leases["16"])
    await primary.begin(primary.names.epoch_without([(10, 20)]))
    assert await tier.store({"16": (late, ENTRY, LIFETIME)}) == set()
    lookup = await tier.read(["9", "15", "16", "x"])
    assert (lookup.trusted, set(lookup.hits)) == (True, {"9", "x"})
    await fill(tier, "15")
    assert set((await tier.read(["15"])).hits) == {"15"}
    assert await tier.store({"16": (late, ENTRY, LIFETIME)}) == set()
    await tier.invalidate(["9", "15"])
    assert set((await tier.read(["9", "15", "16", "x"])).hits) == {"x"}


async def test_fills_of_two_epochs_at_once(tier: RedisTier, primary: Server) -> None:
    before = await tier.lease(["1", "2"], frozenset())
    await primary.begin(new_epoch())
    after = await tier.lease(["2", "3"], frozenset())
    assert before is not None
    assert after is not None
    leases = {"1": before["1"], "2": after["2"], "3": after["3"]}
    assert await tier.store({key: (cast("Lease", lease), ENTRY, LIFETIME) for key, lease in leases.items()}) == {
        "2",
        "3",
    }


async def test_an_invalidation_reaches_the_epoch_that_is(
    tier: RedisTier, primary: Server, current: CurrentNames
) -> None:
    await tier.read(["1"])
    old = current.now
    await primary.begin(new_epoch())
    await primary.redis.set(primary.names.entry("1"), b"x")
    await tier.invalidate(["1"])
    assert await primary.redis.exists(primary.names.entry("1")) == 0
    assert current.now is not old
    await primary.redis.delete(primary.names.state)
    await primary.redis.set(primary.names.entry("1"), b"x")
    await tier.invalidate(["1"])  # by what `alive` says
    assert await primary.redis.exists(primary.names.entry("1")) == 0
    await primary.redis.flushdb()
    await tier.invalidate(["1"])


async def test_a_sidecar_is_not_believed_about_the_epoch(
    current: CurrentNames, primary: Server, sidecar: Server
) -> None:
    tier = tier_of(current, primary, sidecar)
    try:
        await fill(tier, "1")
        now = current.now
        await sidecar.begin(new_epoch())
        await sidecar.redis.set(sidecar.names.entry("1"), b"old")
        lookup = await tier.read(["1"])
        assert (lookup.trusted, lookup.hits["1"].entry.payload) == (True, ENTRY.payload)
        assert current.now is now
        await sidecar.begin(primary.names.epoch)  # it has caught up
        assert (await tier.read(["1"])).hits == {}
        await primary.redis.delete(primary.names.alive)
        assert (await tier.read(["1"])).trusted
    finally:
        await tier.close()


async def test_nothing_is_asked_while_it_is_not_known_which_database_this_is(
    tier: RedisTier, primary: Server, current: CurrentNames
) -> None:
    lease = await fill(tier, "1")
    current.identified(None)
    for call in (tier.read(["1"]), tier.lease(["1"], frozenset()), tier.invalidate(["1"])):
        with pytest.raises(TierUnavailable):
            await call
    tier.give_back({"1": lease})
    current.identified(THERE)
    assert not (await tier.read(["1"])).trusted
    assert await tier.lease(["1"], frozenset()) is None
    await tier.invalidate(["1"])
    current.identified(HERE)
    assert "1" in (await tier.read(["1"])).hits
    assert current.now is not None
    assert current.now.epoch == primary.names.epoch


async def test_an_entry_opens_under_its_own_name_only(tier: RedisTier, primary: Server) -> None:
    """Moved to another epoch or database it is of no use."""
    await fill(tier, "1")
    value = await primary.redis.get(primary.names.entry("1"))
    assert isinstance(value, bytes)
    await primary.begin(new_epoch())
    await primary.redis.set(primary.names.entry("1"), value)
    lookup = await tier.read(["1"])
    assert (lookup.hits, set(lookup.unreadable)) == ({}, {"1"})


async def test_reads_of_two_databases_in_one_round_trip(tier: RedisTier, primary: Server) -> None:
    """While one takes the other one's place: what `alive` says of one is no word of the other."""
    here, there = primary.names, Names("user", THERE, new_epoch())
    await primary.redis.set(there.alive, there.epoch)
    first = tier._primary.read(here.alive, [here.entry("1")])
    second = tier._primary.read(there.alive, [there.entry("1")])
    assert await first == (None, [None])
    assert await second == (there.alive_value, [None])


async def test_invalidations_of_one_moment_travel_together(tier: RedisTier, primary: Server) -> None:
    keys = [str(number) for number in range(50)]
    for key in keys:
        await fill(tier, key)
    await primary.redis.config_resetstat()
    await asyncio.gather(*(tier.invalidate([key]) for key in keys))
    calls = (await primary.redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    # All but the first wait for it. Redis may not have the script yet.
    assert calls <= 3
    assert (await tier.read(keys)).hits == {}


class TestUnusedLeases:
    """Nobody waits for a fill that will not come. Here leases live so long that the tests would never end."""

    @pytest.fixture(autouse=True)
    def long_leases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evenkeel.cache.redis_tier.LEASE", 3600.0)

    async def test_the_reply_to_a_lease_is_lost(self, primary: Server, current: CurrentNames, cache_url: str) -> None:
        async with _lossy(current, primary, cache_url) as (tier, proxy):
            proxy.lose_next()
            with pytest.raises(TierUnavailable):
                await tier.lease(["1", "2"], frozenset())
            await _not_held(tier, "1", "2")

    async def test_the_reply_to_a_store_is_lost_before_it_was_made(
        self, primary: Server, current: CurrentNames, cache_url: str
    ) -> None:
        async with _lossy(current, primary, cache_url) as (tier, proxy):
            leases = await tier.lease(["1"], frozenset())
            assert leases is not None
            lease = leases["1"]
            assert isinstance(lease, Lease)
            proxy.strand_next()
            with pytest.raises(TierUnavailable):
                await tier.store({"1": (lease, ENTRY, LIFETIME)})
            await _not_held(tier, "1")

    async def test_the_reader_goes_away_meanwhile(self, tier: RedisTier) -> None:
        await tier.lease(["0"], frozenset())  # the script is loaded
        reader = asyncio.ensure_future(tier.lease(["1"], frozenset()))
        await asyncio.sleep(0)
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
        await _not_held(tier, "1")
        assert await tier.held(["0"]) == frozenset({"0"})

    async def test_a_fill_fails(self, tier: RedisTier) -> None:
        leases = await tier.lease(["1"], frozenset())
        assert leases is not None
        lease = leases["1"]
        assert isinstance(lease, Lease)
        tier.give_back({"1": lease})
        await _not_held(tier, "1")


@asynccontextmanager
async def _lossy(current: CurrentNames, primary: Server, cache_url: str) -> AsyncIterator[tuple[RedisTier, LossyProxy]]:
    """A tier behind a proxy. Its scripts are loaded and its connections are open."""
    async with LossyProxy(cache_url).running() as proxy:
        client = connect(proxy.url, name="lossy")
        tier = tier_of(current, Server(client, primary.names))
        try:
            await fill(tier, "0")
            yield tier, proxy
        finally:
            await tier.close()
            await client.aclose()


async def _not_held(tier: RedisTier, *keys: str) -> None:
    """Return when nobody has their leases, and somebody could get them."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(TierUnavailable):
                if await tier.held(keys) == frozenset():
                    break
            await asyncio.sleep(0.02)
    leases = await tier.lease(list(keys), frozenset())
    assert leases is not None
    assert all(isinstance(lease, Lease) for lease in leases.values())
