"""What this process has written a moment ago. A plain dict, because every read asks it."""

import itertools
import time
from collections.abc import Callable

OWN_WRITES = 3.0
"""Seconds within which a key written through this process is not read from a sidecar, which may lag behind."""


class OwnWrites:
    """The keys of the last seconds, and whether Redis has been told of them."""

    def __init__(self, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._written: dict[str, tuple[float, bool]] = {}  # the oldest first

    def note(self, key: str, *, told: bool) -> None:
        now = self._timer()
        expired = itertools.takewhile(lambda old: self._written[old][0] <= now, self._written)
        for old in list(expired):
            del self._written[old]
        self._written.pop(key, None)  # to come last
        self._written[key] = (now + OWN_WRITES, told)

    def told(self, key: str) -> bool | None:
        """Whether Redis has been told of the write; None: there was none."""
        written = self._written.get(key)
        if written is None or written[0] <= self._timer():
            return None
        return written[1]
