"""The counters of the memory store, in the order of their names."""

from collections.abc import Callable
from itertools import islice

from counter_api.counters.sorted_names import SortedNames
from counter_api.expiring import ExpiringDict


class SortedCounters(ExpiringDict[str, int]):
    def __init__(self, clock: Callable[[], float], forget: Callable[[str], None]) -> None:
        """`clock` gives seconds and never goes back; `forget` gets the name of each counter that has gone."""
        super().__init__(clock)
        self._forget = forget
        self._names = SortedNames()

    def following(self, *, prefix: str, after: str, count: int) -> list[tuple[str, int]]:
        """The first ones behind `after` whose name starts with the prefix."""
        # At one moment, so that none expires between its name and its value.
        with self._entries.timer:
            self._entries.expire()
            names = islice(self._names.behind(after, prefix=prefix), count)
            return [(name, self._entries[name][0]) for name in names]

    def _added(self, key: str) -> None:
        # The service's own counters are in no list.
        if not key.startswith("_"):
            self._names.add(key)

    def _removed(self, key: str) -> None:
        if not key.startswith("_"):
            self._names.remove(key)
        self._forget(key)
