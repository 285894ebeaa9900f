"""Tables: aligned text for files and programs, and the same with rich on a terminal."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stack import console

if TYPE_CHECKING:
    from rich.console import Console

Row = tuple[str, ...]

_NUMBER = re.compile(r"-|[\d.,]+%?( \(\d+\))?")


def _no_style(_: str, __: str) -> str:
    return ""


@dataclass(frozen=True)
class Table:
    headings: Row
    rows: Sequence[Row]
    style: Callable[[str, str], str] = _no_style
    """The style of a cell on a terminal, such as `green`, by the heading of its column and its text."""

    def text(self) -> str:
        """Columns separated by two spaces, one line for each row."""
        columns = zip(*[self.headings, *self.rows], strict=True)
        widths = [max(map(len, column)) for column in columns]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (self.headings, *self.rows)
        )

    def show(self) -> None:
        """Print the table."""
        if console.is_terminal(sys.stdout):
            from rich.console import Console  # noqa: PLC0415 (most commands start without it)

            self.draw(Console())
        else:
            console.write(self.text())

    def draw(self, terminal: "Console") -> None:
        """Print the table with rich; on a narrow terminal its lines are as long as those of `text`."""
        from rich import box, table  # noqa: PLC0415 (as above)
        from rich.text import Text  # noqa: PLC0415 (as above)

        drawn = table.Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for heading, *column in zip(self.headings, *self.rows, strict=True):
            numbers = bool(column) and all(map(_NUMBER.fullmatch, column))
            drawn.add_column(heading, no_wrap=True, justify="right" if numbers else "left")
        for row in self.rows:
            drawn.add_row(
                *(Text(cell, self.style(heading, cell)) for heading, cell in zip(self.headings, row, strict=True))
            )
        needed = terminal.measure(drawn, options=terminal.options.update_width(10_000)).maximum
        terminal.width = max(terminal.width, needed)
        terminal.print(drawn)
