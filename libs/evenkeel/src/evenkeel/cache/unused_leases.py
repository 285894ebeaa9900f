"""Leases that no fill will use: the reply of Redis was lost, or the reader went away. Others need not wait for them."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from evenkeel.cache.entry import TierUnavailable
from evenkeel.tasks.ending import end

PAUSE = 0.1
"""Seconds between two attempts."""

CLOSING = 0.5
"""Seconds that closing waits for Redis at most."""


class UnusedLeases:
    """Gives leases back in the background, repeatedly until Redis answers."""

    def __init__(self, lifetime: float) -> None:
        """`lifetime`: after so many seconds a lease has ended anyway."""
        self._lifetime = lifetime
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, give_back: Callable[[], Awaitable[object]], *, once: "asyncio.Future[Any] | None" = None) -> None:
        """Call `give_back` until it raises no TierUnavailable.

        It begins when `once` is done: a lease that is given back before it was granted would stay.
        """
        task = asyncio.create_task(self._run(give_back, once))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what Redis does not confirm soon."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSING)
        await end(*self._tasks)

    async def _run(self, give_back: Callable[[], Awaitable[object]], once: "asyncio.Future[Any] | None") -> None:
        if once is not None:
            await asyncio.wait([once])
        give_up = time.monotonic() + self._lifetime
        while time.monotonic() < give_up:
            with contextlib.suppress(TierUnavailable):
                await give_back()
                return
            await asyncio.sleep(PAUSE)
