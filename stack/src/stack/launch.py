"""Starting a supervisor in the background, one for each stack directory."""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from stack import control, logs
from stack.command import LINES_SHOWN, exit_text, explain
from stack.errors import StackError
from stack.layout import Layout
from stack.state import ORPHAN_TIMEOUT, State

LAUNCH_TIMEOUT = 60.0
"""Seconds until the control socket must answer. Ending what a killed supervisor has left is part of them."""


class AlreadyRunningError(StackError):
    """Another supervisor holds the directory."""

    exit_status = 3


def launch(layout: Layout) -> subprocess.Popen[bytes]:
    """Start a supervisor in a session of its own and return when its control socket is there."""
    log_file = layout.log("supervisor")
    since = log_file.stat().st_size if log_file.exists() else 0
    child = _spawn(layout, log_file)
    deadline = time.monotonic() + LAUNCH_TIMEOUT
    try:
        while time.monotonic() < deadline:
            if control.listens(layout.control_socket):
                return child
            status = child.poll()
            if status == AlreadyRunningError.exit_status:  # the other one is starting, or about to end
                child = _spawn(layout, log_file)
            elif status is not None:
                reason = f"the supervisor ended at once ({exit_text(status)})"
                raise StackError(explain(reason, log_file, logs.tail(log_file, LINES_SHOWN, since=since)))
            time.sleep(0.02)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    child.terminate()
    raise StackError(f"the supervisor does not come up; see {log_file}")


@contextlib.contextmanager
def holding(layout: Layout, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the stack's directory. Raises AlreadyRunningError if another process holds it for so many seconds."""
    given_up = time.monotonic() + patience
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(layout.lock.open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= given_up:
                    raise AlreadyRunningError(f"another supervisor holds {layout.directory}") from None
                time.sleep(0.05)
            else:
                # The process that held it may have deleted the file, so that the next one makes another.
                if layout.lock.exists() and os.path.samestat(os.fstat(file.fileno()), layout.lock.stat()):
                    break
            stack.pop_all().close()
        yield


def clean_up(layout: Layout) -> list[str]:
    """End what a killed supervisor has left running; returns the names. Another process may be at it, too."""
    with holding(layout, patience=ORPHAN_TIMEOUT):
        state = State(layout.state)
        names = state.stop_orphans()
        state.end()
        return names


def _spawn(layout: Layout, log_file: Path) -> subprocess.Popen[bytes]:
    with log_file.open("ab") as output:
        # -P: nothing is imported from the working directory.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "stack.daemon", str(layout.directory), str(layout.repository)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=layout.directory,
        )
