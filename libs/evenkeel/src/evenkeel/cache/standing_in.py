"""What stands in for a database that does not answer: stale entries are better than none, if they say so."""

from typing import Generic, TypeVar

from evenkeel.cache.answer import Answer, Read
from evenkeel.cache.entry import Entry
from evenkeel.cache.filling import Source
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics

R = TypeVar("R")


class StandIn(Generic[R]):
    def __init__(self, memory: MemoryTier[R] | None, metrics: CacheMetrics) -> None:
        self._memory = memory
        self._metrics = metrics

    def find(self, read: Read) -> tuple[Source, Entry, float] | None:
        """What could be served, stale or not: its source, itself, and the seconds that it is fresh."""
        candidates: list[tuple[Source, Entry, float]] = []
        if read.known is not None:
            candidates.append(("redis", read.known.entry, read.known.ttl))
        if self._memory is not None and (held := self._memory.last_known(read.key)) is not None:
            candidates.append(("memory", held.entry, held.ttl))
        fitting = [c for c in candidates if c[1].exists and c[1].version >= read.min_version]
        return max(fitting, key=lambda candidate: candidate[1].version, default=None)

    def answer(self, read: Read) -> Answer[R] | None:
        """The same, marked as stale."""
        stand_in = self.find(read)
        if stand_in is None:
            return None
        source, entry, ttl = stand_in
        self._metrics.stale_if_error(source)
        for status in read.statuses:
            if status.tier == source:
                status.hit(ttl, stale=True)
        return Answer(entry, source, read.statuses)
