"""Ends everything that the demonstration has started, and deletes its directory, also after Ctrl-C or SIGKILL.

A process in a session of its own does it, as soon as its standard input ends. No signal of the terminal reaches it.
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stack.layout import repository_root
from stack.services import command
from stack.state import State


@contextlib.contextmanager
def cleared_away() -> Iterator[Path]:
    """A new directory, which is gone at the end."""
    directory = Path(tempfile.mkdtemp(prefix="evenkeel-demo-"))
    clearing = subprocess.Popen(
        [sys.executable, "-m", "demo.leftovers", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=repository_root(),
    )
    try:
        yield directory
    finally:
        clearing.communicate()


def stack_directory(directory: Path) -> Path:
    return directory / "stack"


def records(directory: Path) -> Path:
    """Which programs of the tutorials run."""
    return directory / "tutorials.json"


def _clear(directory: Path) -> None:
    if stack_directory(directory).exists():
        down = [command("stack"), "--directory", str(stack_directory(directory)), "down", "--delete-data"]
        subprocess.run(down, check=False)
    State(records(directory)).stop_orphans()
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.read()
    _clear(Path(sys.argv[1]))
