"""What a verification has found, for people and for programs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from stack import console
from stack.tables import Table
from verify.tally import Tally

TallyT = TypeVar("TallyT", bound=Tally)


@dataclass(frozen=True)
class Report(Generic[TallyT]):
    command: str
    """The words that start the verification."""
    headings: tuple[str, ...]
    row: Callable[[TallyT], tuple[str, ...]]
    explanation: str
    """What the headings mean."""
    notes: Callable[[TallyT], list[str]] = lambda _: []
    """Lines about a phase, printed before its problems."""
    promises: Mapping[str, Any] = field(default_factory=dict)
    """What `--json` has beside `ok` and the phases."""
    breaches: frozenset[str] = frozenset()
    """Headings of columns that count broken promises."""

    def print(self, tallies: Sequence[TallyT], *, as_json: bool) -> int:
        """Return the exit status: 1 if a promise was broken or a fault could not be injected."""
        if as_json:
            console.write(self.document(tallies))
        else:
            self.table(tallies).show()
            console.write("\n".join(self.remarks(tallies)))
        return 1 if any(tally.problems() for tally in tallies) else 0

    def table(self, tallies: Sequence[TallyT]) -> Table:
        """A row for each phase."""
        broken = {tally.phase for tally in tallies if tally.problems()}

        def style(heading: str, cell: str) -> str:
            if heading == self.headings[0]:
                return "red" if cell in broken else "green"
            return "bold red" if heading in self.breaches and cell != "0" else ""

        return Table(self.headings, [self.row(tally) for tally in tallies], style)

    def remarks(self, tallies: Sequence[TallyT]) -> list[str]:
        """The lines below the table: what the headings mean, and what is wrong with the phases."""
        lines = ["", self.explanation]
        for tally in tallies:
            lines += [f"{tally.phase}: {note}" for note in self.notes(tally)]
            lines += [f"{tally.phase}: {problem}" for problem in tally.problems()]
            lines += [f"{tally.phase}:   {example}" for example in tally.examples]
        return lines

    def document(self, tallies: Sequence[TallyT]) -> str:
        """As JSON."""
        found = [tally.as_dict() for tally in tallies]
        kept = not any(phase["problems"] for phase in found)
        return json.dumps({"ok": kept, **self.promises, "phases": found}, indent=1)
