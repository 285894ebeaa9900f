"""What the clients of one counter have seen."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Counted(NamedTuple):
    """An increment that was acknowledged: `by` is positive. Times are seconds of one monotonic clock, as everywhere."""

    value: int
    by: int
    began: float
    """Before the first attempt was sent."""
    ended: float
    """After the answer had come."""


class Seen(NamedTuple):
    """A read that was answered; a counter that did not exist counts as 0."""

    value: int
    began: float
    ended: float


@dataclass(eq=False)
class History:
    """Everything that was done to one counter, which did not exist before."""

    name: str
    counted: list[Counted] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    unknown: list[float] = field(default_factory=list)
    """When increments by 1 began that may have been applied at any time since, or never."""
    final: int | None = None
    """What was read last, when everything else had ended; also in `seen`."""
