"""Which phase of a verification is under way, and how far: a bar on a terminal, else a line for each phase."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from stack import console

REFRESHES = 4
"""A second. Each costs the clients of the verification a little time."""


@dataclass(frozen=True)
class Extent:
    """How much of a phase is done, of how much it has at least."""

    done: Callable[[], float]
    total: float
    unit: str

    @property
    def share(self) -> float:
        return min(1.0, self.done() / self.total)

    def __str__(self) -> str:
        """A phase may last longer than it must. Then what is done is shown alone."""
        done = self.done()
        of = f"/{self.total:,.0f}" if done <= self.total else ""
        return f"{done:,.0f}{of} {self.unit}"


def seconds(total: float) -> Extent:
    """The extent of a phase that begins now and lasts so long at least."""
    began = time.monotonic()
    return Extent(lambda: time.monotonic() - began, total, "s")


class Announce(Protocol):
    """Called when a phase begins."""

    def __call__(self, phase: str, number: int, count: int, extent: Extent | None = None, /) -> None:
        """`number` is the phase's own, from 0. `count` is that of all phases."""


@contextlib.contextmanager
def shown(command: str) -> Iterator[Announce]:
    """Announce phases on standard error; `command` are the words that start the verification."""
    if console.is_terminal(sys.stderr):
        with _bar(command) as announce:
            yield announce
    else:
        yield lambda phase, _, __, ___=None: _write(f"{command}: {phase} …")


@contextlib.contextmanager
def _bar(command: str) -> Iterator[Announce]:
    from rich.console import Console, RenderableType  # noqa: PLC0415 (programs start without it)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    class Bar(Progress):
        """Moves within a phase, too."""

        phase: tuple[int, Extent | None] = (0, None)

        def get_renderables(self) -> Iterable[RenderableType]:
            number, extent = self.phase
            if extent is not None:
                self.update(task, completed=number + extent.share, extent=str(extent))
            return super().get_renderables()

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[extent]}"),
        TimeElapsedColumn(),
    )
    bar = Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=REFRESHES)
    task = bar.add_task(f"{command} …", total=None, extent="")

    def announce(phase: str, number: int, count: int, extent: Extent | None = None, /) -> None:
        bar.phase = (number, extent)
        bar.update(task, description=f"{command}: {phase}", completed=number, total=count, extent=str(extent or ""))

    with bar:
        yield announce


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
