"""Straight lines through what fleets of several sizes cost, from which larger fleets are calculated."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    fixed: float
    each: float
    """For each replica."""

    def at(self, replicas: float) -> float:
        return self.fixed + self.each * replicas


def through(points: Sequence[tuple[float, float]]) -> Line:
    """The line with the least squares of relative distances: the noise of a figure grows with the fleet."""
    weights = [1 / x**2 for x, _ in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    product = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True))
    slope = product / spread if spread else 0.0
    return Line(mean_y - slope * mean_x, slope)
