"""For how long trust in Redis lives on, as far as this process has seen: the sign of life of the relay at work."""

import time


class Pulse:
    """The end of `alive`, noted by whoever has read it on the primary."""

    def __init__(self) -> None:
        self._alive = b""
        self._ends = 0.0
        self._lived_until: float | None = None

    def note(self, alive: bytes, asked: float, lifetime: int) -> None:
        """A question sent at `asked` (of `time.monotonic`) found that `alive` lives for `lifetime` milliseconds."""
        self._alive, self._ends = alive, asked + lifetime / 1000
        if lifetime > 0:
            self._lived_until = self._ends

    def left(self, alive: bytes) -> float:
        """Seconds that `alive` still lives, unless it has been renewed since; not above 0: it may not live."""
        return self._ends - time.monotonic() if alive == self._alive else 0.0

    @property
    def ended(self) -> float | None:
        """Seconds since the last trust that was seen has ended, below 0 while it lives; None: none was seen."""
        return None if self._lived_until is None else time.monotonic() - self._lived_until
