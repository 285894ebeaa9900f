"""The time that this machine has spent on the tests. On a busy machine it is less than the time that has passed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

TICK = 0.01
"""A sleep of this many seconds counts as so many, however late it ends."""


@asynccontextmanager
async def machine_time() -> AsyncIterator[Callable[[], float]]:
    """Gives a function that returns the seconds since the block began.

    A limit in these seconds also holds on a busy machine. The servers of the tests, and the replicas in this process,
    are late for the same reason and by about as much.
    """
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(TICK)
            ticks += 1

    counting = asyncio.create_task(count())
    try:
        yield lambda: ticks * TICK
    finally:
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting
