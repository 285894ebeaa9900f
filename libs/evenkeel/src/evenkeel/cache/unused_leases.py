"""Leases that no fill will use: the reply of Redis was lost, or the reader went away. Others need not wait for them."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from evenkeel.cache.entry import TierUnavailable
from evenkeel.tasks.under_way import UnderWay

PAUSE = 0.1
"""Seconds between two attempts."""

CLOSING = 0.5
"""Seconds that closing waits for Redis at most."""


class UnusedLeases:
    """Gives leases back in the background, repeatedly until Redis answers."""

    def __init__(self, lifetime: float) -> None:
        """`lifetime`: after so many seconds a lease has ended anyway."""
        self._lifetime = lifetime
        self._tasks = UnderWay()

    def add(self, give_back: Callable[[], Awaitable[object]], *, once: "asyncio.Future[Any] | None" = None) -> None:
        """Call `give_back` until it raises no TierUnavailable.

        It begins when `once` is done: a lease that is given back before it was granted would stay.
        """
        self._tasks.add(asyncio.create_task(self._run(give_back, once)))

    async def close(self) -> None:
        """Give up what Redis does not confirm soon."""
        await self._tasks.settled(CLOSING)
        await self._tasks.end()

    async def _run(self, give_back: Callable[[], Awaitable[object]], once: "asyncio.Future[Any] | None") -> None:
        if once is not None:
            await asyncio.wait([once])
        give_up = time.monotonic() + self._lifetime
        while time.monotonic() < give_up:
            with contextlib.suppress(TierUnavailable):
                await give_back()
                return
            await asyncio.sleep(PAUSE)
