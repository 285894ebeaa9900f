"""A replica's memory does not grow with the number of operations."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry
from tests.support.once import once

from counter_api.counters.operations import Increment
from counter_api.metrics import Metrics
from counter_api.settings import Settings
from counter_api.stores import Stores, open_stores

pytestmark = pytest.mark.anyio


async def work(stores: Stores, start: int, operations: int) -> None:
    """Plain, with keys, with series, on many counters, some of it cancelled."""

    async def one(number: int) -> None:
        name = f"n{number % 5000}"
        kinds = [
            Increment(name=name),
            Increment(name="hot", by=2),
            Increment(name=name, series=("hour",), maximum=10**6),
            Increment(name=name, once=once(str(number), 1)),
        ]
        counted = stores.tally.count()
        await stores.counters.apply([kinds[number % 4]])
        await counted

    for first in range(start, start + operations, 500):
        tasks = [asyncio.create_task(one(number)) for number in range(first, first + 500)]
        await asyncio.sleep(0)
        for task in tasks[::50]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.slow
async def test_memory_is_flat_over_many_operations(make_settings: Callable[..., Settings]) -> None:
    async with open_stores(make_settings(), Metrics(CollectorRegistry())) as stores:
        await work(stores, 0, 10_000)
        gc.collect()
        tracemalloc.start()
        try:
            await work(stores, 10_000, 5_000)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            await work(stores, 20_000, 20_000)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < 100_000, "bytes kept after 20,000 operations"
