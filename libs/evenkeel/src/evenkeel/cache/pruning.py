"""Keeps the change log short. Every process deletes what is old enough, whatever tiers it has.

This module remembers nothing. What there is to delete, and how far that has got, is stored beside the log. So it does
not matter which process deletes it, or how often processes come and go.
"""

import asyncio
import logging
import random

from evenkeel.cache.change_log import ChangeLog
from evenkeel.tasks.failures import Failures

log = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds between two prunings by one process, on average. They vary, so that processes do not prune together."""


class Pruner:
    def __init__(self, changes: ChangeLog, *, retention: float) -> None:
        """`retention` in seconds: how far back a reader of the log still finds each change."""
        self._changes = changes
        self._retention = retention

    async def run(self) -> None:
        """Until cancelled, prune."""
        failures = Failures(log, "the change log cannot be pruned")
        while True:
            await asyncio.sleep(INTERVAL * random.uniform(0.5, 1.5))  # noqa: S311 (no secret)
            try:
                pruned = await self._changes.prune(retention=self._retention)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next time may succeed)
                failures.add(error)
            else:
                failures.end()
                log.debug("change log pruned", extra={"rows": pruned})
