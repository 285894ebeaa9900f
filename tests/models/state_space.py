"""Explores every state that a model can reach, breadth first. So the trace that is found first is a shortest one."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)

Steps = Callable[[S], Iterator[tuple[str, S]]]
"""The steps from a state: for each, its name and the next state."""


@dataclass(frozen=True)
class Exploration(Generic[S]):
    states: int
    """The number of different states that were seen."""
    found: S | None
    """The first state with the property that was looked for; None if no reachable state has it."""
    trace: tuple[str, ...]
    """The steps that lead to it."""

    def __str__(self) -> str:
        if self.found is None:
            return f"none of {self.states} states"
        steps = "\n".join(f"{number:3}. {step}" for number, step in enumerate(self.trace, 1))
        return f"after {self.states} states:\n{steps}\n  => {self.found}"

    def show(self) -> None:
        print(self)  # noqa: T201 (pytest shows it with -s, and for a test that fails)


def explore(initial: S, steps: Steps[S], looked_for: Callable[[S], bool]) -> Exploration[S]:
    """Explore all states that can be reached from `initial`, until one is `looked_for`."""
    came_from: dict[S, S | None] = {initial: None}
    frontier = [initial]
    while frontier:
        following = []
        for state in frontier:
            if looked_for(state):
                return Exploration(len(came_from), state, tuple(_trace(came_from, steps, state)))
            for _, successor in steps(state):
                if successor not in came_from:
                    came_from[successor] = state
                    following.append(successor)
        frontier = following
    return Exploration(len(came_from), None, ())


def _trace(came_from: dict[S, S | None], steps: Steps[S], state: S) -> list[str]:
    names: list[str] = []
    reached, before = state, came_from[state]
    while before is not None:
        names.append(next(name for name, successor in steps(before) if successor == reached))
        reached, before = before, came_from[before]
    return names[::-1]
