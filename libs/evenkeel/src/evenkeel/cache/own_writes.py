"""The keys that this process wrote in the last seconds. A plain dict, because every read looks here."""

import itertools
import time
from collections.abc import Callable, Iterable

OWN_WRITES = 3.0
"""Seconds within which a key that this process wrote is not read from a sidecar, which may lag behind."""


class OwnWrites:
    def __init__(self, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._written: dict[str, tuple[float, bool]] = {}  # the oldest first

    def note(self, key: str, *, confirmed: bool) -> None:
        """The key was written now; `confirmed`: Redis has confirmed the invalidation."""
        now = self._timer()
        expired = itertools.takewhile(lambda old: self._written[old][0] <= now, self._written)
        for old in list(expired):
            del self._written[old]
        self._written.pop(key, None)  # to come last
        self._written[key] = (now + OWN_WRITES, confirmed)

    def among(self, keys: Iterable[str]) -> dict[str, bool]:
        """Those of the keys that were written, and whether Redis has confirmed the invalidation."""
        if self._written.keys().isdisjoint(keys):
            return {}
        now = self._timer()
        found = {key: self._written[key] for key in keys if key in self._written}
        return {key: confirmed for key, (end, confirmed) in found.items() if end > now}
