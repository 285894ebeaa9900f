"""Feeds process memory where there is no Redis: each process follows PostgreSQL's change log itself."""

import asyncio
import logging
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

from evenkeel.cache.change_log import ChangeLog
from evenkeel.cache.distrust import Distrust
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.ranges import KeyRanges
from evenkeel.tasks.failures import Failures

log = logging.getLogger(__name__)

INTERVAL = 0.1
"""Seconds between two looks at the change log."""

TRUST = 1.5
"""Seconds after the beginning of a look in which memory is trusted."""


class LogTail:
    """Invalidates the memory tier by the change log."""

    def __init__(
        self,
        changes: ChangeLog,
        memory: MemoryTier[Any],
        on_change: Callable[[AbstractSet[str] | None], None],
        distrust: Distrust,
    ) -> None:
        """`on_change` is called with the keys that have changed, and with None when any may have."""
        self._changes = changes
        self._distrust = distrust
        self._memory = memory
        self._state: str | None = None
        self._on_change = on_change

    async def run(self) -> None:
        """Until cancelled, follow the log."""
        failures = Failures(log, "the change log cannot be followed")
        while True:
            more = False
            try:
                more = await self._look()
            except Exception as error:  # noqa: BLE001 (whatever it is, the next look may succeed)
                failures.add(error)
            else:
                failures.end()
            if not more:
                await asyncio.sleep(INTERVAL)

    async def _look(self) -> bool:
        """Apply the new changes. True if there are more."""
        began = time.monotonic()
        look = await self._changes.look(self._state)
        self._distrust.set(look.distrust)
        if look.distrust is not None:
            self._memory.distrust("change log")
        if look.changes is None:
            self._memory.clear("change log")
            self._on_change(None)
        else:
            if look.changes:
                self._memory.drop(look.changes)
                self._on_change(look.changes.keys())
            if ranges := KeyRanges().adding(look.ranges):
                self._memory.drop_where(lambda key: ranges.token(key) is not None)
                self._on_change(None)
        self._state = look.state
        if look.distrust is None and not look.more:
            # The look began where the last one ended. So it has found what changed while there was no trust, if any.
            self._memory.trust(began + TRUST, gapless=True)
        return look.more
