"""How old an answer was: what is known to have been committed to a row, and since when."""

import bisect
import math
from collections.abc import Sequence

Position = tuple[int, float]
"""A state in the life of a row: its generation (from 1; a row that is deleted and inserted again under the same id
begins another) and the version in it. Later states compare greater."""

NEVER: Position = (0, 0)
"""Before the row was there for the first time."""


def deleted(generation: int) -> Position:
    """The state after that generation was deleted."""
    return generation, math.inf


class RowHistory:
    """The commits of one row, with the moments (seconds of one monotonic clock) since when they are known.

    A commit is known from the moment its writer was answered, or when somebody was given the value it wrote, if that
    was earlier: also a change whose writer died is committed once it has been seen.
    """

    def __init__(self) -> None:
        self._positions: list[Position] = [NEVER]
        self._known: list[float] = [-math.inf]

    @property
    def latest(self) -> Position:
        return self._positions[-1]

    def committed(self, position: Position, now: float) -> None:
        """Learn at `now`, no earlier than anything learnt before, that the row has been at that position."""
        if position > self._positions[-1]:  # else a later state says more, and has been known for longer
            self._positions.append(position)
            self._known.append(now)

    def staleness(self, position: Position, asked: float) -> float:
        """For how many seconds, when the question was asked, another commit than the answer's had been known.

        0 if none was: the answer was the newest, or the question was under way when it ceased to be.
        """
        lacking = bisect.bisect_right(self._positions, position)
        if lacking == len(self._known):
            return 0.0
        return max(0.0, asked - self._known[lacking])


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the ascending values that is no smaller than that share of them (nearest rank); 0 for none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
