"""How the change log is kept short, whatever caches there are: every process tells it to forget what is old enough.

Nothing is remembered here. What there is to forget, and how far that has got, is written down beside the log, so that
it does not matter which process does it, or how often they come and go.
"""

import asyncio
import logging
import random

from evenkeel.cache.change_log import ChangeLog
from evenkeel.tasks.failures import Failures

log = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds between two prunings by one process, on average: those of several do not meet."""


class Pruner:
    def __init__(self, changes: ChangeLog, *, retention: float) -> None:
        """`retention` in seconds: how far back a reader of the log may go without having to assume anything."""
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
