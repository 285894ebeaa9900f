"""What becomes of the stack's processes while a command changes it: a list on a terminal, else lines."""

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from stack import console, control, status
from stack.errors import StackError
from stack.layout import Layout

INTERVAL = 0.2
"""Seconds between questions to the supervisor."""

TIMEOUT = 2.0
"""Seconds that its answer may take."""

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


class Lines:
    """For files and programs: one for each process that has become healthy."""

    def show(self, before: Phases, after: Phases) -> None:
        for pid, (name, phase) in after.items():
            if phase == "healthy" and before.get(pid) != (name, phase):
                sys.stderr.write(f"{name} is healthy\n")
                sys.stderr.flush()


@contextlib.contextmanager
def _on_terminal(what: str) -> Iterator[View]:
    from rich.console import Console, Group  # noqa: PLC0415 (most commands start without it)
    from rich.live import Live  # noqa: PLC0415 (as above)
    from rich.spinner import Spinner  # noqa: PLC0415 (as above)
    from rich.table import Table  # noqa: PLC0415 (as above)
    from rich.text import Text  # noqa: PLC0415 (as above)

    spinner = Spinner("line", Text(what))
    live = Live(spinner, console=Console(stderr=True), transient=True, refresh_per_second=8)

    class List:
        def show(self, _: Phases, after: Phases) -> None:
            processes = Table.grid(padding=(0, 2))
            for name, phase in after.values():
                processes.add_row("", name, Text(phase, status.colour(phase)))
            live.update(Group(spinner, processes))

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
