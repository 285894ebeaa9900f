"""Clean-up that happens even if this program is killed."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def watchdog(command: str) -> Iterator[None]:
    """Run the command by a shell in a session of its own. The end of this block ends the shell."""
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
