"""What one part of the demonstration has measured."""

from collections.abc import Mapping
from dataclasses import dataclass

TUTORIAL = "tutorial"
EVENKEEL = "Evenkeel"

NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Bar:
    """One figure."""

    system: str
    value: float
    """The length of the bar, in the unit of the finding."""
    text: str
    """The figure and its unit."""
    lasting: bool = False
    """It was still so when the measurement ended."""


@dataclass(frozen=True)
class Finding:
    title: str
    line: str
    """What was done, and what came of it."""
    bars: tuple[Bar, Bar]
    missing: tuple[str, ...] = ()
    """Why the difference did not show. Empty if it did."""


def unmet(conditions: Mapping[str, bool]) -> tuple[str, ...]:
    """The conditions that do not hold, for `missing`."""
    return tuple(condition for condition, holds in conditions.items() if not holds)


def seconds(value: float) -> str:
    """A duration with a unit in which it is easy to read."""
    if value < 0.001:
        return f"less than 1{NO_BREAK}ms"
    if value < 1:
        return f"{value * 1000:.0f}{NO_BREAK}ms"
    return f"{value:.3g}{NO_BREAK}s"
