"""The goals, and how they compare with what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.tables import show

NOISE = 0.08
"""The share by which a figure may fall short of its goal. Repeated runs differ by so much."""


@dataclass(frozen=True)
class Goal:
    """`figure` must be at least `least`, or at most `most`."""

    text: str
    figure: float
    least: float | None = None
    most: float | None = None
    noise: float = NOISE

    @property
    def met(self) -> bool:
        return (self.least is None or self.figure >= self.least * (1 - self.noise)) and (
            self.most is None or self.figure <= self.most * (1 + self.noise)
        )

    @property
    def row(self) -> tuple[str, str, str, str]:
        bound = f"≥ {self.least:.2f}" if self.least is not None else f"≤ {self.most:.2f}"
        return self.text, bound, f"{self.figure:.2f}", "yes" if self.met else "**no**"


def report(goals: Iterable[Goal]) -> None:
    show(["goal", "", "figure", "met"], [goal.row for goal in goals])
