"""The tier in the process itself: a bounded LRU cache whose entries expire, and which answers only while it is trusted.

Trust ends by itself after a time. The task that feeds the tier with invalidations renews it while none can have been
missed. If it stops, for whatever reason, the tier soon stops answering. When trust begins again, the tier is empty.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import TTLCache

from evenkeel.cache.entry import Entry
from evenkeel.cache.metrics import CacheMetrics

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class MemoryHit(Generic[R]):
    """An entry with what was prepared from it. `expires` is a time of `time.monotonic`."""

    entry: Entry
    ready: R
    expires: float

    @property
    def ttl(self) -> float:
        """Seconds until it expires."""
        return self.expires - time.monotonic()


class Reservation:
    """The place that a fill under way holds for its key.

    An invalidation removes it, and the fill is not stored. An invalidation with a version only raises the least
    version that may be stored.
    """

    __slots__ = ("fills", "least")

    def __init__(self) -> None:
        self.fills = 0
        self.least = 0


class MemoryTier(Generic[R]):
    name = "memory"

    def __init__(self, *, max_entries: int, ttl: float, prepare: Callable[[Entry], R], metrics: CacheMetrics) -> None:
        """`ttl` in seconds, from the put. `prepare` runs once for each entry, and hits have its result."""
        self._ttl = ttl
        self._prepare = prepare
        self._metrics = metrics
        self._entries: TTLCache[str, MemoryHit[R]] = TTLCache(max_entries, ttl, timer=time.monotonic)
        self._reservations: dict[str, Reservation] = {}
        self._trusted_until = 0.0
        self.first_trust = asyncio.Event()
        """Set once the tier has been trusted."""
        metrics.observe_memory(lambda: len(self._entries), lambda: float(self.trusted))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def trusted(self) -> bool:
        return time.monotonic() < self._trusted_until

    def peek(self, key: str) -> MemoryHit[R] | None:
        """The entry, if it may be served as fresh. Counts a hit."""
        now = time.monotonic()
        if now >= self._trusted_until:
            return None
        try:
            hit = self._entries[key]
        except KeyError:
            return None
        if now >= hit.expires:
            return None
        self._metrics.memory_hit()
        return hit

    def last_known(self, key: str) -> MemoryHit[R] | None:
        """The entry, trusted or not, for when there is nothing better."""
        return self._entries.get(key)

    @contextmanager
    def reserve(self, keys: Iterable[str]) -> Iterator[dict[str, Reservation]]:
        """Reservations for fills. Take them before anything is read, and `put` before the block ends."""
        held = {key: self._reservations.setdefault(key, Reservation()) for key in keys}
        for reservation in held.values():
            reservation.fills += 1
        try:
            yield held
        finally:
            for key, reservation in held.items():
                reservation.fills -= 1
                if reservation.fills == 0 and self._reservations.get(key) is reservation:
                    del self._reservations[key]

    def put(self, key: str, entry: Entry, ttl: float, reservation: Reservation) -> MemoryHit[R] | None:
        """Keep the entry for `ttl` seconds at most, unless its key was invalidated after the reservation."""
        now = time.monotonic()
        if now >= self._trusted_until or ttl <= 0:
            return None
        if self._reservations.get(key) is not reservation or entry.version < reservation.least:
            self._metrics.offered(self.name, stored=False)
            return None
        hit = MemoryHit(entry, self._prepare(entry), now + min(ttl, self._ttl))
        self._entries[key] = hit
        self._metrics.offered(self.name, stored=True)
        return hit

    def drop(self, changes: Mapping[str, int | None]) -> None:
        """Forget the keys, and refuse their fills under way, unless they have this version or a later one.

        Most keys are not here while many rows change, so that they cost one look in a dictionary each.
        """
        for key in [key for key in changes if key in self._entries]:
            version, held = changes[key], self._entries.get(key)
            if held is not None and (version is None or held.entry.version < version):
                self._entries.pop(key, None)
        for key in changes.keys() & self._reservations.keys():
            version, reservation = changes[key], self._reservations[key]
            if version is None:
                del self._reservations[key]
            else:
                reservation.least = max(reservation.least, version)

    def drop_where(self, changed: Callable[[str], bool]) -> None:
        """Forget the keys for which `changed` is true, and refuse their fills under way."""
        keys = [key for key in self._entries if changed(key)]
        for key in keys:
            self._entries.pop(key, None)
        for key in [key for key in self._reservations if changed(key)]:
            del self._reservations[key]
        self._metrics.invalidate("range", len(keys))

    def clear(self, reason: str) -> None:
        """Forget everything, and refuse all fills under way."""
        self._entries.clear()
        self._reservations.clear()
        self._metrics.flush(self.name, reason)

    def trust(self, until: float, *, gapless: bool = False) -> None:
        """Until then (a time of `time.monotonic`) no invalidation can be missed, and none has been missed so far.

        If there was no trust, the tier begins empty, unless it is `gapless`: then all invalidations of the time without
        trust have been applied.
        """
        now = time.monotonic()
        if now >= self._trusted_until and until > now and not gapless:
            self.clear("trust renewed")
        self._trusted_until = until
        if until > now:
            self.first_trust.set()

    def distrust(self, reason: str) -> None:
        """Stop answering at once. The entries stay for `last_known` until trust begins again."""
        if self.trusted:
            self._metrics.flush(self.name, reason)
        self._trusted_until = 0.0
        self._reservations.clear()
