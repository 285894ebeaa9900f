"""How stale an answer was: the commits of a row, and since when each is known."""

import bisect
import math
from collections.abc import Sequence

Position = tuple[int, float]
"""A state in the life of a row: its generation, from 1, and the version in it. A row that is deleted and inserted again
under the same id begins another generation. Later states compare greater."""

NEVER: Position = (0, 0)
"""The state before the row was first inserted."""


def deleted(generation: int) -> Position:
    """The state after that generation was deleted."""
    return generation, math.inf


class RowHistory:
    """The commits of one row, and since when they are known (seconds of one monotonic clock).

    A commit is known when its writer got an answer, or when a reader got the written value, if that was earlier. So a
    change whose writer died counts as committed once it was read.
    """

    def __init__(self) -> None:
        self._positions: list[Position] = [NEVER]
        self._known: list[float] = [-math.inf]

    @property
    def latest(self) -> Position:
        return self._positions[-1]

    def committed(self, position: Position, now: float) -> None:
        """Note that at `now` the row is known to have been at that position. Calls come in the order of `now`."""
        if position > self._positions[-1]:  # otherwise a later state is known already
            self._positions.append(position)
            self._known.append(now)

    def staleness(self, position: Position, asked: float) -> float:
        """For how many seconds, when the request was sent, a later commit than the answer's had been known.

        0 if there was none: then the answer was the newest state at some time during the request.
        """
        lacking = bisect.bisect_right(self._positions, position)
        if lacking == len(self._known):
            return 0.0
        return max(0.0, asked - self._known[lacking])

    def after(self, position: Position) -> Position:
        """The next known state; the same if none is known."""
        lacking = bisect.bisect_right(self._positions, position)
        return self._positions[lacking] if lacking < len(self._positions) else position


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile of the ascending values by nearest rank; 0 without values."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
