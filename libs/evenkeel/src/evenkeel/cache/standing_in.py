"""Stale entries, served with a mark while the database does not answer."""

from typing import Any

from evenkeel.cache.answer import Found, Read
from evenkeel.cache.entry import Entry
from evenkeel.cache.filling import Source
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics


class StandIn:
    def __init__(self, memory: MemoryTier[Any] | None, metrics: CacheMetrics) -> None:
        self._memory = memory
        self._metrics = metrics

    def find(self, read: Read, key: str) -> tuple[Source, Entry, float] | None:
        """The newest entry that may be served, stale or not: its source, itself, and the seconds that it is fresh."""
        if not read.marked:
            return None
        candidates: list[tuple[Source, Entry, float]] = []
        if (known := read.known.get(key)) is not None:
            candidates.append(("redis", known.entry, known.ttl))
        if self._memory is not None and (held := self._memory.last_known(key)) is not None:
            candidates.append(("memory", held.entry, held.ttl))
        fitting = [c for c in candidates if c[1].exists and c[1].version >= read.min_version]
        return max(fitting, key=lambda candidate: candidate[1].version, default=None)

    def serve(self, read: Read, key: str) -> Found | None:
        """The same, marked as stale."""
        stand_in = self.find(read, key)
        if stand_in is None:
            return None
        source, entry, ttl = stand_in
        self._metrics.stale_if_error(source)
        for status in read.statuses:
            if status.tier == source:
                status.hit(ttl, stale=True)
        return entry, source
