"""What a read makes of a slow load, and of one that is not its own; the load is the test's own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from evenkeel.cache import read_through
from evenkeel.cache.cache_status import render
from evenkeel.cache.database_breaker import DatabaseBreaker
from evenkeel.cache.entry import Entry, Hit, TierUnavailable
from evenkeel.cache.errors import LoadError, NotAnswering
from evenkeel.cache.filling import Filled, Filler
from evenkeel.cache.gate import Gate
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics, Metrics
from evenkeel.cache.read_through import ReadThrough
from evenkeel.cache.redis_tier import Lookup, RedisTier

pytestmark = pytest.mark.anyio

OLD, NEW = Entry(1, b"old"), Entry(2, b"new")


@pytest.fixture
def metrics() -> CacheMetrics:
    return CacheMetrics(Metrics(CollectorRegistry()), "test")


@pytest.fixture
def memory(metrics: CacheMetrics) -> MemoryTier[Entry]:
    """Holds the old entry, which it does not trust any more."""
    tier = MemoryTier(max_entries=10, ttl=60, prepare=lambda entry: entry, metrics=metrics)
    tier.trust(time.monotonic() + 60)
    with tier.reserve(["1"]) as reservations:
        assert tier.put("1", OLD, 60, reservations["1"])
    tier.distrust("test")
    return tier


class Database:
    def __init__(self) -> None:
        self.answering = asyncio.Event()

    async def probe(self) -> None:
        await self.answering.wait()

    async def load(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        await self.answering.wait()
        return dict.fromkeys(keys, NEW)


class Redis:
    """Holds the old entry of every key; its leases have no trust."""

    name = "redis"

    def __init__(self) -> None:
        self.reads: list[tuple[list[str], bool]] = []
        self.answering = True
        self.hits = True

    async def read(self, keys: Sequence[str], *, from_primary: bool) -> Lookup:
        self.reads.append((list(keys), from_primary))
        if not self.answering:
            raise TierUnavailable
        return Lookup({key: Hit(OLD, 60) for key in keys if self.hits}, trusted=True)

    async def invalidate(self, _: Sequence[str]) -> None:
        if not self.answering:
            raise TierUnavailable

    async def lease(self, *_: object) -> None:
        return None


def cache_of(
    database: Database,
    memory: MemoryTier[Entry] | None,
    metrics: CacheMetrics,
    breaker: DatabaseBreaker | None = None,
    redis: Redis | None = None,
) -> ReadThrough[Entry]:
    filler = Filler(
        load=database.load,
        gate=Gate(width=1, queue=10),
        memory=memory,
        redis=cast("RedisTier | None", redis),
        ttl=60,
        stale_ttl=60,
        metrics=metrics,
        database=breaker,
    )
    return ReadThrough(memory=memory, redis=cast("RedisTier | None", redis), filler=filler, metrics=metrics)


async def test_something_stale_stands_in_for_a_slow_database(
    memory: MemoryTier[Entry], metrics: CacheMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_through, "STAND_IN_AFTER", 0.01)
    answer = await cache_of(Database(), memory, metrics).get("1")
    assert (answer.entry, answer.source) == (OLD, "memory")


async def test_what_is_invalidated_meanwhile_does_not_stand_in(
    memory: MemoryTier[Entry], metrics: CacheMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_through, "STAND_IN_AFTER", 0.05)
    database = Database()
    cache = cache_of(database, memory, metrics)
    reading = asyncio.create_task(cache.get("1"))
    await asyncio.sleep(0.01)
    await cache.invalidate(["1"])
    await asyncio.sleep(0.1)
    assert not reading.done()
    database.answering.set()
    answer = await reading
    assert (answer.entry, answer.source) == (NEW, "database")


async def test_min_version_holds_for_what_another_process_has_loaded(metrics: CacheMetrics) -> None:
    class LateFiller:
        """Waited for another process's lease, and finds what that one had read before the change."""

        database = DatabaseBreaker()

        async def fill(self, keys: Sequence[str], _: object) -> AsyncIterator[dict[str, Filled]]:
            yield {key: Filled(OLD, "redis", frozenset()) for key in keys}

        refresh = fill

        async def query(self, keys: Sequence[str], **_: Any) -> dict[str, Entry]:
            return dict.fromkeys(keys, NEW)

    cache: ReadThrough[Entry] = ReadThrough(
        memory=None, redis=None, filler=cast("Filler", LateFiller()), metrics=metrics
    )
    assert (await cache.get("1", min_version=1)).entry == OLD
    assert (await cache.get("1", min_version=2)).entry == NEW


async def test_nothing_stands_in_for_a_programming_error(memory: MemoryTier[Entry], metrics: CacheMetrics) -> None:
    error: Exception = ValueError("a column that is not there")

    class Faulty(Database):
        async def load(self, _: Sequence[str]) -> Mapping[str, Entry]:
            raise error

    cache = cache_of(Faulty(), memory, metrics)
    with pytest.raises(ValueError, match="a column"):
        await cache.get("1")
    with pytest.raises(ValueError, match="a column"):
        await cache.get_many(["1"])
    error = LoadError("the database is gone")
    assert (await cache.get("1")).entry == OLD
    with pytest.raises(LoadError):
        await cache.get_many(["1"])


async def test_batch_counts_memory_without_trust_as_such(memory: MemoryTier[Entry]) -> None:
    registry = CollectorRegistry()
    database = Database()
    database.answering.set()
    cache = cache_of(database, memory, CacheMetrics(Metrics(registry), "test"))

    def counted(result: str) -> float:
        labels = {"cache": "test", "tier": "memory", "result": result}
        return registry.get_sample_value("cache_reads_total", labels) or 0

    await cache.get_many(["1", "2"])
    assert (counted("distrusted"), counted("miss")) == (2, 0)
    memory.trust(time.monotonic() + 60)
    await cache.get_many(["1", "2"])
    assert (counted("distrusted"), counted("miss")) == (2, 2)


async def test_open_breaker_has_what_is_stale_served_at_once(memory: MemoryTier[Entry], metrics: CacheMetrics) -> None:
    database = Database()
    cache = cache_of(database, memory, metrics, DatabaseBreaker(database.probe))
    first = await cache.get("1")
    waits = []
    for _ in range(20):
        began = time.monotonic()
        assert (await cache.get("1")).entry == OLD
        waits.append(time.monotonic() - began)
    assert first.entry == OLD
    assert sorted(waits)[10] < read_through.STAND_IN_AFTER / 2
    await cache.close()


async def test_what_redis_may_hold_from_before_a_write_is_read_from_the_database(metrics: CacheMetrics) -> None:
    """That one key alone: the others of a batch are read from Redis, by the primary, as after any write."""
    database, redis = Database(), Redis()
    database.answering.set()
    cache = cache_of(database, None, metrics, redis=redis)
    redis.answering = False
    await cache.invalidate(["1"])
    redis.answering = True
    answer = await cache.get("1")
    assert (answer.entry, answer.source) == (NEW, "database")
    assert render(answer.statuses) == "redis; fwd=bypass; detail=not-invalidated"
    assert await cache.get_many(["1"]) == {"1": NEW}
    assert redis.reads == []
    assert await cache.get_many(["1", "2", "3"]) == {"1": NEW, "2": OLD, "3": OLD}
    assert redis.reads == [(["2", "3"], True)]
    await cache.invalidate(["1"])
    assert await cache.get_many(["1", "2"]) == {"1": OLD, "2": OLD}
    assert await cache.get_many(["2"]) == {"2": OLD}
    assert redis.reads[1:] == [(["1", "2"], True), (["2"], False)]


async def test_one_key_and_several_are_counted_alike() -> None:
    async def counts(read: Callable[[ReadThrough[Entry]], Awaitable[object]], *, hits: bool, answering: bool) -> str:
        registry = CollectorRegistry()
        database, redis = Database(), Redis()
        database.answering.set()
        redis.hits, redis.answering = hits, answering
        metrics = CacheMetrics(Metrics(registry), "test")
        tier = MemoryTier(max_entries=10, ttl=60, prepare=lambda entry: entry, metrics=metrics)
        tier.trust(time.monotonic() + 60)
        await read(cache_of(database, tier, metrics, redis=redis))
        assert len(tier) == 1
        lines = generate_latest(registry).decode().splitlines()
        return "\n".join(line for line in lines if "_created" not in line and "monotonic" not in line)

    for hits, answering in ((True, True), (False, True), (False, False)):
        one = await counts(lambda cache: cache.get("1"), hits=hits, answering=answering)
        several = await counts(lambda cache: cache.get_many(["1"]), hits=hits, answering=answering)
        assert one == several


async def test_a_key_named_twice_is_loaded_once(metrics: CacheMetrics) -> None:
    loads = []

    class Counting(Database):
        async def load(self, keys: Sequence[str]) -> Mapping[str, Entry]:
            loads.append(keys)
            return dict.fromkeys(keys, NEW)

    cache = cache_of(Counting(), None, metrics)
    assert await cache.get_many(["1", "2", "1"]) == {"1": NEW, "2": NEW}
    assert loads == [["1", "2"]]


async def test_readers_outlive_the_fill_of_a_reader_with_less_time() -> None:
    """And the shared fill counts once, when one has been of use."""
    registry = CollectorRegistry()
    failing = asyncio.Event()

    class Impatient(Database):
        fills = 0

        async def load(self, keys: Sequence[str]) -> Mapping[str, Entry]:
            self.fills += 1
            if self.fills == 1:
                await failing.wait()
                raise NotAnswering("The database does not answer.")
            return dict.fromkeys(keys, NEW)

    database = Impatient()
    cache = cache_of(database, None, CacheMetrics(Metrics(registry), "test"))
    first = asyncio.create_task(cache.get("1"))
    await asyncio.sleep(0.01)
    one, several = asyncio.create_task(cache.get("1")), asyncio.create_task(cache.get_many(["1"]))
    await asyncio.sleep(0.01)
    failing.set()
    with pytest.raises(NotAnswering):
        await first
    assert (await one).entry == NEW
    assert await several == {"1": NEW}
    assert database.fills == 2
    # One of the two fills again, and the other one shares that.
    assert registry.get_sample_value("cache_collapsed_reads_total", {"cache": "test"}) == 1


async def test_all_tiers_are_named_that_a_read_from_the_database_passes_by(metrics: CacheMetrics) -> None:
    """Empty ones, too."""
    tier = MemoryTier(max_entries=10, ttl=60, prepare=lambda entry: entry, metrics=metrics)
    database = Database()
    database.answering.set()
    answer = await cache_of(database, tier, metrics, redis=Redis()).get("1", from_database=True)
    assert render(answer.statuses) == "redis; fwd=request, memory; fwd=request"


@pytest.mark.parametrize("tier", [None, Redis()], ids=["without a tier", "Redis"])
async def test_cold_reads_of_one_moment_are_one_query(metrics: CacheMetrics, tier: Redis | None) -> None:
    loads: list[list[str]] = []

    class Counted(Database):
        async def load(self, keys: Sequence[str]) -> Mapping[str, Entry]:
            loads.append(list(keys))
            return dict.fromkeys(keys, NEW)

    if tier is not None:
        tier.hits = False
    cache = cache_of(Counted(), None, metrics, redis=tier)
    keys = [str(number) for number in range(30)]
    answers = await asyncio.gather(*(cache.get(key) for key in [*keys, *keys]))
    assert [answer.entry for answer in answers] == [NEW] * 60
    assert loads == [keys]
    assert [answer.statuses[0].collapsed for answer in answers if answer.statuses] in ([], [False] * 30 + [True] * 30)
