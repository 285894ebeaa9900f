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
            deadline = self._entries[key][1]
        elif ttl is None:
            deadline = None
        else:
            deadline = self._clock() + ttl
            heapq.heappush(self._deadlines, (deadline, key))
        self._entries[key] = (value, deadline)

    def ttl(self, key: K) -> float | None:
        """Seconds that the entry has left; None if it stays, or is not there."""
        self._expire()
        _, deadline = self._entries.get(key, (None, None))
        return None if deadline is None else deadline - self._clock()

    def pop(self, key: K) -> None:
        self._entries.pop(key, None)

    def __iter__(self) -> Iterator[K]:
        self._expire()
        return iter(self._entries)

    def _expire(self) -> None:
        while self._deadlines and self._deadlines[0][0] <= self._clock():
            deadline, key = heapq.heappop(self._deadlines)
            # Another deadline: the entry was deleted and made again since.
            if key in self._entries and self._entries[key][1] == deadline:
                del self._entries[key]
