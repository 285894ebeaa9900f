"""A dict whose entries may have a time to live, as Redis' keys may."""

import math
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from cachetools import TLRUCache

K = TypeVar("K")
V = TypeVar("V")


class ExpiringDict(Generic[K, V]):
    """Every write removes what has expired, so expired entries never pile up.

    `_added` and `_removed` are for subclasses that keep something else for each entry.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds and never goes back."""
        self._entries: _Entries[K, V] = _Entries(clock, self._removed)

    def get(self, key: K) -> V | None:
        self._entries.expire()
        value, _ = self._entries.get(key, (None, math.inf))
        return value

    def put(self, key: K, value: V, *, ttl: float | None) -> None:
        """`ttl` is in seconds and counts if the entry is new. An entry that exists keeps its own."""
        with self._entries.timer as now:
            before = self._entries.get(key)
            self._set(key, value, _deadline(now, ttl) if before is None else before[1])

    def replace(self, key: K, value: V, *, ttl: float | None) -> None:
        """As `put`, but the time to live counts in any case."""
        with self._entries.timer as now:
            self._set(key, value, _deadline(now, ttl))

    def ttl(self, key: K) -> float | None:
        """Seconds that the entry has left; None if it stays, or is not there."""
        with self._entries.timer as now:
            _, deadline = self._entries.get(key, (None, math.inf))
            return None if deadline == math.inf else deadline - now

    def pop(self, key: K) -> None:
        if self._entries.pop(key, None) is not None:
            self._removed(key)

    def __iter__(self) -> Iterator[K]:
        self._entries.expire()
        return iter(self._entries)

    def _set(self, key: K, value: V, deadline: float) -> None:
        # First, since a key that has expired is a new one.
        self._entries.expire()
        new = key not in self._entries
        self._entries[key] = (value, deadline)
        if new:
            self._added(key)

    def _added(self, key: K) -> None:
        pass

    def _removed(self, key: K) -> None:
        pass


class _Entries(TLRUCache[K, tuple[V, float], float]):
    """Values with their deadlines. Without a bound: an entry that is evicted would be a lost count."""

    def __init__(self, clock: Callable[[], float], removed: Callable[[K], None]) -> None:
        super().__init__(math.inf, lambda _, entry, __: entry[1], timer=clock)
        self._removed = removed

    def expire(self, time: float | None = None) -> list[tuple[K, tuple[V, float]]]:
        """Called by every write too."""
        expired = super().expire(time)
        for key, _ in expired:
            self._removed(key)
        return expired


def _deadline(now: float, ttl: float | None) -> float:
    return math.inf if ttl is None else now + ttl
