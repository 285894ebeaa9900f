"""Process memory without Redis, while the table's triggers are tampered with, and after more than one look can tell."""

import asyncio
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet

import pytest
from prometheus_client import CollectorRegistry
from tests.support.books_database import Books

from evenkeel.cache import Metrics
from evenkeel.cache.distrust import Distrust
from evenkeel.cache.entry import Entry
from evenkeel.cache.log_tail import LogTail
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics

pytestmark = pytest.mark.anyio

LONG = 1000.0

Keys = AbstractSet[str] | None
"""That have changed; None: any may have."""


@pytest.fixture
def metrics() -> CacheMetrics:
    return CacheMetrics(Metrics(CollectorRegistry()), "book")


@pytest.fixture
def distrust(metrics: CacheMetrics) -> Distrust:
    return Distrust(metrics)


@pytest.fixture
def memory(metrics: CacheMetrics, monkeypatch: pytest.MonkeyPatch) -> MemoryTier[Entry]:
    """Trusted for so long that only its feed can end it."""
    monkeypatch.setattr("evenkeel.cache.log_tail.TRUST", LONG)
    return MemoryTier(max_entries=10, ttl=LONG, prepare=lambda entry: entry, metrics=metrics)


@pytest.fixture
async def tail(books: Books, memory: MemoryTier[Entry], distrust: Distrust) -> AsyncIterator[list[Keys]]:
    """What it says has changed."""
    said: list[Keys] = []
    task = asyncio.create_task(LogTail(books.log, memory, said.append, distrust).run())
    await memory.first_trust.wait()
    yield said
    task.cancel()
    await asyncio.wait({task})


def trusted(memory: MemoryTier[Entry]) -> bool:
    """As a call, which a type checker expects to answer differently each time."""
    return memory.trusted


async def test_is_not_trusted_while_a_trigger_is_off(
    books: Books, memory: MemoryTier[Entry], tail: list[Keys], distrust: Distrust
) -> None:
    await books.execute("ALTER TABLE books DISABLE TRIGGER book_changes_update")
    while trusted(memory):  # noqa: ASYNC110 (there is no event)
        await asyncio.sleep(0.05)
    told = len(tail)
    while len(tail) < told + 2:  # noqa: ASYNC110 (there is no event)
        await asyncio.sleep(0.05)
    assert not trusted(memory)
    assert "changes of books may go unseen" in (distrust.reason or "")
    await books.execute("ALTER TABLE books ENABLE TRIGGER book_changes_update")
    while not trusted(memory):  # noqa: ASYNC110 (there is no event)
        await asyncio.sleep(0.05)
    await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
    while tail[-1] != {"1"}:  # noqa: ASYNC110 (there is no event)
        await asyncio.sleep(0.05)
    assert set(tail[:-1]) == {None}


async def test_goes_through_what_is_too_much_for_one_look(
    books: Books, memory: MemoryTier[Entry], distrust: Distrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evenkeel.cache.change_log.MOST_TRANSACTIONS", 2)
    said: list[Keys] = []
    tail = LogTail(books.log, memory, said.append, distrust)
    assert not await tail._look()
    memory.distrust("begin")
    for key in (1, 2, 3):
        await books.execute(("UPDATE books SET title = 'U' WHERE id = $1", key))
    assert await tail._look()
    assert not trusted(memory)
    while await tail._look():
        pass
    assert trusted(memory)
    assert said[0] is None
    assert sorted(key for keys in said[1:] for key in keys or "") == ["1", "2", "3"]


async def test_a_look_that_is_late_costs_only_what_has_changed(
    books: Books, memory: MemoryTier[Entry], distrust: Distrust
) -> None:
    """PostgreSQL may stall, or the process. The next look begins where the last one ended, and misses nothing."""
    tail = LogTail(books.log, memory, lambda _: None, distrust)
    await tail._look()
    with memory.reserve(["1", "2"]) as reservations:
        for key in ("1", "2"):
            assert memory.put(key, Entry(1, b"{}"), LONG, reservations[key])
    memory.trust(0)
    await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
    assert not trusted(memory)
    await tail._look()
    assert [key for key in ("1", "2") if memory.peek(key)] == ["2"]


async def test_drops_the_range_of_a_large_statement(books: Books, memory: MemoryTier[Entry], tail: list[Keys]) -> None:
    keys = ["2", "4", "50004", "50005", "x"]
    with memory.reserve(keys) as reservations:
        for key in keys:
            memory.put(key, Entry(1, b"{}"), LONG, reservations[key])
        told = len(tail)
        await books.execute("INSERT INTO books (id) SELECT generate_series(4, 50004)")
        while len(tail) == told:  # noqa: ASYNC110 (there is no event)
            await asyncio.sleep(0.05)
        assert [key for key in keys if memory.peek(key)] == ["2", "50005", "x"]
        assert memory.put("4", Entry(1, b"{}"), LONG, reservations["4"]) is None
    assert tail[told:] == [None]
