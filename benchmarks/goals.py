"""What is to be reached, beside what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """`figure` is to be `least` or more, or `most` or less."""

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
