"""Findings on a terminal, or as plain lines."""

import textwrap

from rich.console import Console
from rich.text import Text

from demo.findings import TUTORIAL, Bar, Finding

LINE = 100
"""Characters of the longest line."""

WIDTH = 40
"""Cells of the longest bar."""

EIGHTHS = " ▏▎▍▌▋▊▉"
FULL = "█"

COLOURS = {True: "red", False: "green"}
"""By whether it is the tutorial."""


def drawn(share: float, width: int = WIDTH) -> str:
    """A bar of this share of the width. What is more than nothing is seen: it has an eighth of a cell at least."""
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    return FULL * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def shares(bars: tuple[Bar, Bar]) -> tuple[float, float]:
    """The lengths of the bars. The longest is 1; without any value both are 0."""
    most = max(bar.value for bar in bars)
    first, second = (bar.value / most if most else 0.0 for bar in bars)
    return first, second


def show(console: Console, finding: Finding) -> None:
    console.print(Text(finding.title, "bold"))
    for line in textwrap.wrap(finding.line, min(console.width, LINE) - 2):
        console.print(Text(f"  {line}"))
    for bar, share in zip(finding.bars, shares(finding.bars), strict=True):
        row = Text(f"  {bar.system:<8} ")
        row.append(drawn(share) + ("…" if bar.lasting else ""), COLOURS[bar.system == TUTORIAL])
        row.append(f" {bar.text}" if share else bar.text)
        console.print(row)
    for reason in finding.missing:
        console.print(Text(f"  The difference did not show: {reason}.", "bold red"))
    console.print()
