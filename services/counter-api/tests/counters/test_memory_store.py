"""The tutorial's counter in a global variable with a lock: the memory store, in one process."""

import asyncio

import pytest
from tests.support.once import once

from counter_api.counters.memory_store import MemoryCounterStore
from counter_api.counters.operations import Applied, Increment
from counter_api.counters.series import Unit
from counter_api.problems import CounterBound

pytestmark = pytest.mark.anyio

RETENTION: dict[Unit, int] = {"minute": 120, "hour": 7200, "day": 172_800}
"""Seconds."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_memory_store_is_a_global_variable_behind_a_lock() -> None:
    store = MemoryCounterStore(idempotency_ttl=60, series_retention=RETENTION)

    async def visit() -> int:
        [outcome] = await store.apply([Increment(name="visits")])
        assert isinstance(outcome, Applied)
        return outcome.value

    async with store._lock:
        visits = [asyncio.create_task(visit()) for _ in range(100)]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in visits)
    assert await asyncio.gather(*visits) == list(range(1, 101))


async def test_memory_store_forgets_what_has_expired() -> None:
    clock = Clock()
    store = MemoryCounterStore(idempotency_ttl=60, series_retention=RETENTION, clock=clock)
    for second in range(1000):
        clock.now = float(second)
        await store.apply([Increment(name=f"n{second}", ttl=10, once=once(str(second), second))])
    assert (len(list(store._counters)), len(list(store._records))) == (10, 60)


async def test_a_remembered_refusal_keeps_no_traceback() -> None:
    """A raised problem has a traceback, which holds all frames on the way."""
    store = MemoryCounterStore(idempotency_ttl=60, series_retention=RETENTION)
    [refused] = await store.apply([Increment(name="a", maximum=0, once=once("k", 1))])
    assert isinstance(refused, CounterBound)
    with pytest.raises(CounterBound):
        raise refused
    [(_, outcome)] = [store._records.get(key) or ("", None) for key in store._records]
    assert isinstance(outcome, CounterBound)
    assert outcome.__traceback__ is None
