"""The operations on one counter, as its clients recorded them."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Counted(NamedTuple):
    """An acknowledged increment; `by` is positive. All times are seconds of one monotonic clock."""

    value: int
    by: int
    began: float
    """The time before the first attempt was sent."""
    ended: float
    """The time after the answer had come."""


class Seen(NamedTuple):
    """An answered read; a counter that did not exist counts as 0."""

    value: int
    began: float
    ended: float


@dataclass(eq=False)
class History:
    """All operations on one counter, which did not exist before."""

    name: str
    counted: list[Counted] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    unknown: list[float] = field(default_factory=list)
    """The beginnings of increments by 1 of unknown outcome: each may have been applied at any time since, or never."""
    final: int | None = None
    """The value that was read after everything else had ended; also in `seen`."""
