"""The goals, and how they compare with what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """`figure` must be at least `least`, or at most `most`."""

    text: str
    figure: float
    least: float | None = None
    most: float | None = None

    @property
    def reached(self) -> bool:
        return (self.least is None or self.figure >= self.least) and (self.most is None or self.figure <= self.most)

    def __str__(self) -> str:
        bound = f">= {self.least:.2f}" if self.least is not None else f"<= {self.most:.2f}"
        return f"{self.text:58}{bound:>9}{self.figure:10.2f}  {'ok' if self.reached else 'MISSED'}"


def report(goals: Iterable[Goal]) -> None:
    for goal in goals:
        print(goal, flush=True)
