"""Export from the memory of one process and import into it."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice

from counter_api.storage.expiring import ExpiringDict
from counter_api.transfer.entries import Entry
from counter_api.transfer.storage import Progress

_BATCH = 500


class MemoryTransfer:
    """Without an await in the middle, nothing else of this process' event loop comes in between."""

    def __init__(self, counters: ExpiringDict[str, int], clock: Callable[[], float]) -> None:
        """`counters` are those of the store, `clock` theirs."""
        self._counters = counters
        self._records: ExpiringDict[str, Progress] = ExpiringDict(clock)

    async def export(self, prefix: str) -> AsyncIterator[list[Entry]]:
        names = iter([name for name in self._counters if name.startswith(prefix) and name[0] != "_"])
        while batch := list(islice(names, _BATCH)):
            yield [entry for name in batch if (entry := self._entry(name)) is not None]

    def _entry(self, name: str) -> Entry | None:
        value, left = self._counters.get(name), self._counters.ttl(name)
        return None if value is None else Entry(name, value, None if left is None else math.ceil(left))

    async def progress(self, record: str) -> Progress:
        return self._records.get(record) or Progress()

    async def apply(
        self, record: str, before: Progress, after: Progress, entries: Sequence[Entry], *, keep: int
    ) -> Progress:
        known = await self.progress(record)
        if known != before:
            return known
        for entry in entries:
            self._counters.pop(entry.name)
            self._counters.put(entry.name, entry.value, ttl=entry.ttl)
        self._records.pop(record)
        self._records.put(record, after, ttl=keep)
        return after
