"""Tables as Markdown, so that docs/performance.md takes them as they are."""

from collections.abc import Iterable, Sequence


def lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table whose first column is text, and whose other columns are figures."""
    rows = [header, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    return [
        f"| {' | '.join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])} |"
        for row in (header, rule, *rows[1:])
    ]


def show(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    for line in lines(header, rows):
        print(line, flush=True)
    print(flush=True)
