"""What was found, for people and for programs."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from stack import console
from stack.status import aligned
from verify.tally import Tally

TallyT = TypeVar("TallyT", bound=Tally)


@dataclass(frozen=True)
class Report(Generic[TallyT]):
    command: str
    """The words that start it."""
    headings: tuple[str, ...]
    row: Callable[[TallyT], tuple[str, ...]]
    explanation: str
    """Of the headings."""
    notes: Callable[[TallyT], list[str]] = lambda _: []
    """Lines about a phase that stand before its problems."""
    promises: Mapping[str, Any] = field(default_factory=dict)
    """What `--json` says of the whole beside `ok`."""

    def announce(self, phase: str) -> None:
        """It begins: say so where the findings do not go."""
        sys.stderr.write(f"{self.command}: {phase} …\n")
        sys.stderr.flush()

    def print(self, tallies: Sequence[TallyT], *, as_json: bool) -> int:
        """Return the exit status: 1 if a promise was broken or a fault could not be injected."""
        console.write(self.document(tallies) if as_json else self.table(tallies))
        return 1 if any(tally.problems() for tally in tallies) else 0

    def table(self, tallies: Sequence[TallyT]) -> str:
        """A line for each phase, and below what is wrong with them."""
        lines = [aligned([self.headings, *map(self.row, tallies)]), "", self.explanation]
        for tally in tallies:
            lines += [f"{tally.phase}: {note}" for note in self.notes(tally)]
            lines += [f"{tally.phase}: {problem}" for problem in tally.problems()]
            lines += [f"{tally.phase}:   {example}" for example in tally.examples]
        return "\n".join(lines)

    def document(self, tallies: Sequence[TallyT]) -> str:
        """As JSON."""
        found = [tally.as_dict() for tally in tallies]
        kept = not any(phase["problems"] for phase in found)
        return json.dumps({"ok": kept, **self.promises, "phases": found}, indent=1)
