"""Whether one number that changes by whole increments, one after the other, can explain a counter's history.

Finding a valid order is NP-complete for arbitrary histories. Here increments are positive, so their acknowledged values
give the order, and sorting is enough. An increment of `by` with the answer `value` takes the units from `value - by` to
`value`. Then a history is linearizable if and only if

* no unit is taken twice;
* a read's value is one that the counter had between two increments;
* in the order of values, no operation had ended before an operation of a lower value began;
* every unit without an acknowledged increment belongs to an increment of unknown outcome. Such an increment takes one
  unit at most, and began before any operation of a higher value had ended.

The last condition is a matching of units with increments. An increment for a lower unit must have begun earlier,
because more operations have higher values. So the increments that fit a unit also fit every higher one. Giving each
unit, from the lowest, any increment that fits leaves the fewest units over (Hall's theorem for nested sets). All of it
takes O(n log n).
"""

import bisect
import math
from dataclasses import dataclass, field
from typing import NamedTuple

from verify.counters.history import Counted, History, Seen
from verify.tally import EXAMPLES


@dataclass
class Verdict:
    lost: int = 0
    """Units of two acknowledged increments, or units that the final value lacks."""
    doubled: int = 0
    """Units in the values that no increment can have made."""
    disordered: int = 0
    """Operations that show the effect of another one, although they had ended before it began."""
    torn: int = 0
    """Reads of values that lie within one increment."""
    applied: int = 0
    """Increments of unknown outcome that must have been applied."""
    examples: list[str] = field(default_factory=list)

    @property
    def linearizable(self) -> bool:
        return not (self.lost or self.doubled or self.disordered or self.torn)

    def example(self, text: str) -> None:
        if len(self.examples) < EXAMPLES:
            self.examples.append(text)


class _Placed(NamedTuple):
    """An operation in the order of values. Reads of a value come after the increment that made it."""

    value: int
    is_read: bool
    began: float
    ended: float
    by: int

    @property
    def lowest(self) -> int:
        """The value below the units that it takes."""
        return self.value - self.by

    def __str__(self) -> str:
        what = f"a read of {self.value}" if self.is_read else f"the increment by {self.by} to {self.value}"
        return f"{what} (from {self.began:.6f} to {self.ended:.6f} s)"


def check(history: History) -> Verdict:
    """Count the contradictions to a single, atomic counter."""
    verdict = Verdict()
    counted = sorted(history.counted)
    whole = _whole_reads(history, counted, verdict)
    placed = sorted(
        [
            *(_Placed(op.value, is_read=False, began=op.began, ended=op.ended, by=op.by) for op in counted),
            *(_Placed(op.value, is_read=True, began=op.began, ended=op.ended, by=0) for op in whole),
        ]
    )
    _check_order(placed, verdict)
    _check_units(placed, sorted(history.unknown), verdict)
    if history.final is not None and counted and (missing := counted[-1].value - history.final) > 0:
        verdict.lost += missing
        verdict.example(f"{counted[-1].value} was acknowledged, and the final value was {history.final}")
    return verdict


def _whole_reads(history: History, counted: list[Counted], verdict: Verdict) -> list[Seen]:
    """The reads without the torn ones."""
    values = [op.value for op in counted]
    whole = []
    for read in history.seen:
        above = bisect.bisect_left(values, read.value)
        inside = above < len(counted) and counted[above].value - counted[above].by < read.value < values[above]
        if inside or read.value < 0:
            verdict.torn += 1
            verdict.example(f"{read.value} was read, which is no value between two increments")
        else:
            whole.append(read)
    return whole


def _check_order(placed: list[_Placed], verdict: Verdict) -> None:
    latest: _Placed | None = None
    for operation in placed:
        if latest is None or operation.began > latest.began:
            latest = operation
        elif operation.ended < latest.began:
            verdict.disordered += 1
            verdict.example(f"{operation} had ended before {latest} began")


def _check_units(placed: list[_Placed], unknown: list[float], verdict: Verdict) -> None:
    """`unknown` has the beginnings of the increments of unknown outcome, in ascending order."""
    # The earliest end among the operations from each place on.
    first_end = [math.inf] * (len(placed) + 1)
    for place in range(len(placed) - 1, -1, -1):
        first_end[place] = min(first_end[place + 1], placed[place].ended)
    values = [operation.value for operation in placed]
    covered = 0
    for operation in sorted(placed, key=lambda operation: operation.lowest):
        if operation.lowest < covered:
            verdict.lost += min(covered, operation.value) - operation.lowest
            if not operation.is_read:
                verdict.example(f"{operation} takes units of another acknowledged increment")
        elif operation.lowest > covered:
            needed = operation.lowest - covered
            above = bisect.bisect_right(values, covered)
            fitting = bisect.bisect_right(unknown, first_end[above]) - verdict.applied
            verdict.applied += min(needed, fitting)
            if needed > fitting:
                verdict.doubled += needed - fitting
                verdict.example(
                    f"no increment made {needed - fitting} of the units from {covered} to {operation.lowest}"
                )
        covered = max(covered, operation.value)
