"""What a command is doing meanwhile: a list of processes or a bar on a terminal, else lines."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from stack import console, control, status
from stack.errors import StackError
from stack.layout import Layout

INTERVAL = 0.2
"""Seconds between questions to the supervisor."""

TIMEOUT = 2.0
"""Seconds that its answer may take."""

LINES_EVERY = 5.0
"""Seconds between two lines about bytes."""

Phases = Mapping[int, tuple[str, str]]
"""Name and phase of each running process, by its id."""


class View(Protocol):
    def show(self, before: Phases, after: Phases) -> None: ...


@contextlib.contextmanager
def shown(layout: Layout, what: str) -> Iterator[None]:
    """Show what becomes of the processes while the block runs; `what` describes the block."""
    with _on_terminal(what) if console.is_terminal(sys.stderr) else contextlib.nullcontext(Lines()) as view:
        before: Phases = {}
        with contextlib.suppress(StackError):
            before = _phases(layout)
        ended = threading.Event()
        watching = threading.Thread(target=_watch, args=(layout, view, before, ended), daemon=True)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join()


@contextlib.contextmanager
def moved(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show how many bytes were moved, of `total` if that is known. To be called with the bytes of each piece."""
    if console.is_terminal(sys.stderr):
        with _bar(what, total) as advance:
            yield advance
        return
    count, shown_at = 0, time.monotonic()
    _write(f"{what} …")

    def advance_in_lines(size: int) -> None:
        nonlocal count, shown_at
        count += size
        if time.monotonic() >= shown_at + LINES_EVERY:
            shown_at = time.monotonic()
            _write(f"{what}: {count:,}{'' if total is None else f' of {total:,}'} bytes")

    yield advance_in_lines


@contextlib.contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    from rich.console import Console  # noqa: PLC0415 (most commands start without it)
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda size: bar.advance(task, size)


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Lines:
    """For files and programs: one for each process that has become healthy."""

    def show(self, before: Phases, after: Phases) -> None:
        for pid, (name, phase) in after.items():
            if phase == "healthy" and before.get(pid) != (name, phase):
                _write(f"{name} is healthy")


@contextlib.contextmanager
def _on_terminal(what: str) -> Iterator[View]:
    from rich.console import Console, Group  # noqa: PLC0415 (most commands start without it)
    from rich.live import Live  # noqa: PLC0415 (as above)
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 (as above)
    from rich.table import Table  # noqa: PLC0415 (as above)
    from rich.text import Text  # noqa: PLC0415 (as above)

    whole = Progress(SpinnerColumn("line"), TextColumn("{task.description}"), TimeElapsedColumn())
    whole.add_task(what, total=None)
    live = Live(whole, console=Console(stderr=True), transient=True, refresh_per_second=8)

    class List:
        def show(self, _: Phases, after: Phases) -> None:
            processes = Table.grid(padding=(0, 2))
            for name, phase in after.values():
                processes.add_row("", name, Text(phase, status.colour(phase)))
            live.update(Group(whole, processes))

    with live:
        yield List()


def _watch(layout: Layout, view: View, before: Phases, ended: threading.Event) -> None:
    over = False
    while not over:
        over = ended.wait(INTERVAL)  # after the end there is one more look: much may have changed since the last
        with contextlib.suppress(StackError):
            after = _phases(layout)
            view.show(before, after)
            before = after


def _phases(layout: Layout) -> Phases:
    """Empty without a supervisor. Raises StackError if it does not answer."""
    try:
        answer: dict[str, Any] = control.ask(console.control_socket(layout), {"command": "phases"}, timeout=TIMEOUT)
    except control.NotRunningError:
        return {}
    return {each["pid"]: (each["name"], each["phase"]) for each in answer["processes"]}
