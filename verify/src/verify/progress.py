"""Which phase of a verification is under way: a bar on a terminal, else a line for each phase."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

from stack import console

Announce: TypeAlias = Callable[[str, int, int], None]
"""Called when a phase begins: with its name, its number from 0, and how many phases there are."""

REFRESHES = 4
"""A second. Each costs the clients of the verification a little time."""


@contextlib.contextmanager
def shown(command: str) -> Iterator[Announce]:
    """Announce phases on standard error; `command` are the words that start the verification."""
    if not console.is_terminal(sys.stderr):
        yield lambda phase, _, __: _write(f"{command}: {phase} …")
        return
    from rich.console import Console  # noqa: PLC0415 (programs start without it)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=REFRESHES) as progress:
        task = progress.add_task(f"{command} …", total=None)

        def announce(phase: str, number: int, count: int) -> None:
            progress.update(task, description=f"{command}: {phase}", completed=number, total=count)

        yield announce


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
