"""What a read makes of a slow load, and of one that is not its own; the load is the test's own."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from evenkeel.cache import read_through
from evenkeel.cache.database_breaker import DatabaseBreaker
from evenkeel.cache.entry import Entry
from evenkeel.cache.errors import LoadError
from evenkeel.cache.filling import Filled, Filler
from evenkeel.cache.gate import Gate
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics, Metrics
from evenkeel.cache.read_through import ReadThrough

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


def cache_of(
    database: Database, memory: MemoryTier[Entry], metrics: CacheMetrics, breaker: DatabaseBreaker | None = None
) -> ReadThrough[Entry]:
    filler = Filler(
        load=database.load,
        gate=Gate(width=1, queue=10),
        memory=memory,
        redis=None,
        ttl=60,
        stale_ttl=60,
        metrics=metrics,
        database=breaker,
    )
    return ReadThrough(memory=memory, redis=None, filler=filler, metrics=metrics)


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

        async def fill(self, keys: Sequence[str], **_: Any) -> dict[str, Filled]:
            return {key: Filled(OLD, "redis", frozenset()) for key in keys}

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
