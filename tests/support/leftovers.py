"""Ends what a test process leaves behind if it is killed: servers, replicas, whole stacks.

A test process that ends in the normal way stops them itself. One that is killed cannot, and pytest-xdist kills its
workers when the run is interrupted. So each test process has a watchdog, which waits for the end of its standard input.
Processes that belong to the test process are found by an environment variable that they inherit.
"""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable

import psutil

VARIABLE = "EVENKEEL_TEST_PROCESS"

GRACE = 10
"""Seconds that they have to end after SIGTERM."""


def watched(grace: float = GRACE) -> Callable[[], None]:
    """Start the watchdog of this process, before anything else is started. Returns what ends it."""
    os.environ[VARIABLE] = uuid.uuid4().hex
    # This process alone has the other end of the pipe, since programs that it starts inherit no descriptors.
    watchdog = subprocess.Popen(
        [sys.executable, __file__, str(grace)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def end() -> None:
        watchdog.communicate()

    return end


def inherited() -> dict[str, str]:
    """For the environment of a program that does not inherit this one's."""
    return {VARIABLE: os.environ[VARIABLE]} if VARIABLE in os.environ else {}


def _belongs(process: psutil.Process, name: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(VARIABLE) == name
    except psutil.Error:
        return False


def _end_all(name: str, grace: float) -> None:
    left = [process for process in psutil.process_iter() if _belongs(process, name)]
    for process in left:
        _send(process, "terminate")
    _, left = psutil.wait_procs(left, timeout=grace)
    # What a supervisor has started meanwhile is among these.
    for process in [*left, *(process for process in psutil.process_iter() if _belongs(process, name))]:
        _send(process, "kill")


def _send(process: psutil.Process, signal: str) -> None:
    with contextlib.suppress(psutil.Error):
        getattr(process, signal)()


if __name__ == "__main__":
    sys.stdin.read()
    _end_all(os.environ[VARIABLE], float(sys.argv[1]))
