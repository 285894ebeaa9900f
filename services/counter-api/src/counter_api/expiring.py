"""A dict whose entries may have a time to live, as Redis' keys may."""

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ExpiringDict(Generic[K, V]):
    """What has expired is removed by the next access of any entry, so it never piles up."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds and never goes back."""
        self._clock = clock
        self._entries: dict[K, tuple[V, float | None]] = {}
        self._deadlines: list[tuple[float, K]] = []

    def get(self, key: K) -> V | None:
        self._expire()
        found = self._entries.get(key)
        return None if found is None else found[0]

    def put(self, key: K, value: V, *, ttl: float | None) -> None:
        """`ttl` is in seconds and counts if the entry is new; what is there already keeps its own."""
        self._expire()
        if key in self._entries:
            self._entries[key] = (value, self._entries[key][1])
        else:
            self.replace(key, value, ttl=ttl)

    def replace(self, key: K, value: V, *, ttl: float | None) -> None:
        """As `put`, but the time to live counts in any case."""
        self._expire()
        deadline = None
        if ttl is not None:
            deadline = self._clock() + ttl
            heapq.heappush(self._deadlines, (deadline, key))
        new = key not in self._entries
        self._entries[key] = (value, deadline)
        if new:
            self._added(key)

    def ttl(self, key: K) -> float | None:
        """Seconds that the entry has left; None if it stays, or is not there."""
        self._expire()
        _, deadline = self._entries.get(key, (None, None))
        return None if deadline is None else deadline - self._clock()

    def pop(self, key: K) -> None:
        if self._entries.pop(key, None) is not None:
            self._removed(key)

    def __iter__(self) -> Iterator[K]:
        self._expire()
        return iter(self._entries)

    def _expire(self) -> None:
        while self._deadlines and self._deadlines[0][0] <= self._clock():
            deadline, key = heapq.heappop(self._deadlines)
            # Another deadline: the entry was deleted and made again since.
            if key in self._entries and self._entries[key][1] == deadline:
                del self._entries[key]
                self._removed(key)

    def _added(self, key: K) -> None:
        """For those who want to know which keys there are."""

    def _removed(self, key: K) -> None:
        """As above."""
