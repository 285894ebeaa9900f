"""Straight lines through what fleets of several sizes cost, from which larger fleets are calculated."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression


@dataclass(frozen=True)
class Line:
    fixed: float
    each: float
    """For each replica."""

    def at(self, replicas: float) -> float:
        return self.fixed + self.each * replicas


def through(points: Sequence[tuple[float, float]]) -> Line:
    """The line of the least squares. It is flat if there is only one point."""
    sizes, figures = zip(*points, strict=True)
    if len(points) == 1:
        return Line(figures[0], 0.0)
    slope, intercept = linear_regression(sizes, figures)
    return Line(intercept, slope)
