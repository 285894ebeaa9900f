"""The counts of one phase, and the promises that it found broken."""

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from stack.errors import StackError

EXAMPLES = 5
"""How many broken promises a phase describes. Further ones are only counted."""


@dataclass
class Tally(ABC):
    """The common part; each verifier adds its own counts."""

    BREACHES: ClassVar[Mapping[str, str]]
    """Descriptions of the kinds of breaches."""

    phase: str
    _: KW_ONLY
    errors: Counter[str] = field(default_factory=Counter)
    breaches: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    failure: str | None = None
    """Why the fault could not be injected."""

    def breach(self, kind: str, what: str, count: int = 1) -> None:
        self.breaches[kind] += count
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{kind}: {what}")

    @contextlib.contextmanager
    def injecting(self) -> Iterator[None]:
        """A fault that cannot be injected in this block is the phase's failure."""
        try:
            yield
        except StackError as error:
            self.failure = f"the fault could not be injected: {error}"

    def problems(self) -> list[str]:
        """The reasons for which the phase has not passed, one sentence each."""
        found = [f"{count} {self.BREACHES[kind]}" for kind, count in self.breaches.items()]
        answered = self.answered()
        if self.failure:
            found.append(self.failure)
        elif not all(answered.values()):
            counts = " and ".join(f"{count} {what}" for what, count in answered.items())
            found.append(f"{counts} got an answer: that proves nothing")
        return found

    @abstractmethod
    def answered(self) -> dict[str, int]:
        """The numbers of answers by kind. A phase without answers of some kind has not passed."""

    @abstractmethod
    def counts(self) -> dict[str, Any]:
        """The verifier's own part of `as_dict`."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "phase": self.phase,
            **self.counts(),
            "breaches": dict(self.breaches),
            "examples": self.examples,
            "problems": self.problems(),
        }
