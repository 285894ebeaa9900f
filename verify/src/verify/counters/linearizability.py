"""Whether a counter's history can be explained by one number that changes by whole increments, one after the other.

Increments are positive, so an acknowledged value says where in the order its increment stands: finding some order,
which is NP-complete for arbitrary histories, is sorting here. An increment of `by` that was answered `value` takes the
units from `value - by` to `value`. Then a history is linearizable if and only if

* no unit is taken twice;
* a read's value is one that the counter had between two increments;
* in the order of values, nothing had ended before something that stands before it began;
* every unit that nobody was acknowledged is the work of an increment of unknown outcome, each of which takes one unit
  at most, and began before anything had ended that stands behind that unit.

The last is a matching of units with increments. The more stands behind a unit, the earlier the increment must have
begun, so the increments that fit a unit also fit every higher one, and giving each unit, from the lowest, any one that
fits leaves the fewest units without (Hall's theorem for nested sets). All of it takes O(n log n).
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
    """Units that were acknowledged to two increments, or that the final value lacks."""
    doubled: int = 0
    """Units that are in the values although no increment can have made them."""
    disordered: int = 0
    """Operations that had ended before something began whose effect they show."""
    torn: int = 0
    """Reads of values that lie inside one increment."""
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
    """An operation in the order of values; reads of a value stand behind the increment that made it."""

    value: int
    is_read: bool
    began: float
    ended: float
    by: int

    @property
    def lowest(self) -> int:
        """Below the units that it takes."""
        return self.value - self.by

    def __str__(self) -> str:
        what = f"a read of {self.value}" if self.is_read else f"the increment by {self.by} to {self.value}"
        return f"{what} (from {self.began:.6f} to {self.ended:.6f} s)"


def check(history: History) -> Verdict:
    """Count what contradicts a single, atomic counter."""
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
        verdict.example(f"{counted[-1].value} was acknowledged, and in the end there was {history.final}")
    return verdict


def _whole_reads(history: History, counted: list[Counted], verdict: Verdict) -> list[Seen]:
    """The reads but for the torn ones."""
    values = [op.value for op in counted]
    whole = []
    for read in history.seen:
        above = bisect.bisect_left(values, read.value)
        inside = above < len(counted) and counted[above].value - counted[above].by < read.value < values[above]
        if inside or read.value < 0:
            verdict.torn += 1
            verdict.example(f"{read.value} was read, which the counter cannot have been between two increments")
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
    """`unknown` is when the increments of unknown outcome began, in ascending order."""
    # Of the operations from each place on, when the first one ended.
    first_end = [math.inf] * (len(placed) + 1)
    for place in range(len(placed) - 1, -1, -1):
        first_end[place] = min(first_end[place + 1], placed[place].ended)
    values = [operation.value for operation in placed]
    covered = 0
    for operation in sorted(placed, key=lambda operation: operation.lowest):
        if operation.lowest < covered:
            verdict.lost += min(covered, operation.value) - operation.lowest
            if not operation.is_read:
                verdict.example(f"{operation} takes what had been acknowledged to another")
        elif operation.lowest > covered:
            needed = operation.lowest - covered
            above = bisect.bisect_right(values, covered)
            fitting = bisect.bisect_right(unknown, first_end[above]) - verdict.applied
            verdict.applied += min(needed, fitting)
            if needed > fitting:
                verdict.doubled += needed - fitting
                verdict.example(f"nobody made {needed - fitting} of the units from {covered} to {operation.lowest}")
        covered = max(covered, operation.value)
