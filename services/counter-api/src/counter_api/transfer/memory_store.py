"""Export from the memory of one process and import into it."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence

from counter_api.counters.sorted_counters import SortedCounters
from counter_api.expiring import ExpiringDict
from counter_api.transfer.entries import Entry
from counter_api.transfer.store import Progress

_BATCH = 500


class MemoryTransferStore:
    """Its changes have no await in the middle, so nothing else runs in between."""

    def __init__(self, counters: SortedCounters, clock: Callable[[], float]) -> None:
        """`counters` are those of the store, `clock` theirs."""
        self._counters = counters
        self._records: ExpiringDict[str, Progress] = ExpiringDict(clock)

    async def export(self, prefix: str) -> AsyncIterator[list[Entry]]:
        after = ""
        while found := self._counters.following(prefix=prefix, after=after, count=_BATCH):
            yield [Entry(name, value, self._ttl(name)) for name, value in found]
            after = found[-1][0]
            # Otherwise an export to a fast client would never yield to other requests.
            await asyncio.sleep(0)

    def _ttl(self, name: str) -> int | None:
        left = self._counters.ttl(name)
        return None if left is None else math.ceil(left)

    async def progress(self, record: str) -> Progress:
        return self._records.get(record) or Progress()

    async def apply(
        self, record: str, before: Progress, after: Progress, entries: Sequence[Entry], *, keep: int
    ) -> Progress:
        known = await self.progress(record)
        if known != before:
            return known
        for entry in entries:
            self._counters.replace(entry.name, entry.value, ttl=entry.ttl)
        self._records.replace(record, after, ttl=keep)
        return after
