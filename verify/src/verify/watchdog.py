"""What must be put right even when this program is killed."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def watchdog(command: str) -> Iterator[None]:
    """A shell in a session of its own runs the command, and is ended with this block if it lasts longer."""
    running = subprocess.Popen(
        ["/bin/sh", "-c", command],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
