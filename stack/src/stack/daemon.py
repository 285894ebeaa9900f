"""The supervisor as a process of its own: launched detached, one per stack directory."""

import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from stack import control, logs
from stack.command import LINES_SHOWN, exit_text, explain
from stack.errors import StackError
from stack.layout import Layout
from stack.state import State
from stack.supervisor import Supervisor

LAUNCH_TIMEOUT = 60.0
"""Seconds until the control socket must answer; ending the remains of a killed supervisor is part of them."""

log = logging.getLogger(__name__)


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
            if status == AlreadyRunningError.exit_status:  # the other one is coming up, or about to leave
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


def _spawn(layout: Layout, log_file: Path) -> subprocess.Popen[bytes]:
    with log_file.open("ab") as output:
        # -P: the working directory is no place to import from.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "stack.daemon", str(layout.directory), str(layout.repository)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=layout.directory,
        )


@contextlib.contextmanager
def holding(layout: Layout) -> Iterator[None]:
    """Hold the stack's directory; raises AlreadyRunningError while another process does."""
    with layout.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(f"another supervisor holds {layout.directory}") from None
        yield


def clean_up(layout: Layout) -> list[str]:
    """End what a killed supervisor has left running; returns the names."""
    with holding(layout):
        state = State(layout.state)
        names = state.stop_orphans()
        state.end()
        return names


def main() -> int:
    """Supervise; the arguments are the stack's directory and the repository."""
    layout = Layout(Path(sys.argv[1]), Path(sys.argv[2]))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o077)
    _allow_many_connections()
    try:
        with holding(layout):
            state = State(layout.state)
            for name in state.stop_orphans():
                log.info("ended %s, left by a supervisor that was killed", name)
            layout.make()  # again: the one before may have removed its sockets since
            state.begin(layout.control_socket)
            asyncio.run(Supervisor(layout, state).run())
            shutil.rmtree(layout.sockets)
    except StackError as error:
        log.error("%s", error)  # noqa: TRY400 (one line, without a traceback)
        return error.exit_status
    return 0


def _allow_many_connections() -> None:
    """The gateway and Valkey need a file descriptor for each connection; shells often allow 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    sys.exit(main())
