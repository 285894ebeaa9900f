"""Programs that do one thing and then end."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack import logs
from stack.errors import StackError

LINES_SHOWN = 12


async def run(
    name: str,
    argv: Sequence[str],
    *,
    log_file: Path,
    environment: Mapping[str, str] | None = None,
    standard_input: str = "",
) -> None:
    """Run the program with its output in the log. Cancelling this kills it.

    Raises StackError with the last lines of its output unless it ends with status 0.
    """
    with log_file.open("ab") as output:
        since = output.tell()
        child = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=os.environ | dict(environment or {}),
        )
    try:
        await child.communicate(standard_input.encode())
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if child.returncode != 0:
        lines = logs.tail(log_file, LINES_SHOWN, since=since)
        raise StackError(explain(f"{name} failed ({exit_text(child.returncode or 0)})", log_file, lines))


def exit_text(status: int) -> str:
    """The words for an exit status of asyncio."""
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


def explain(reason: str, log_file: Path, lines: Sequence[str]) -> str:
    return "\n".join([f"{reason}; see {log_file}", *(f"  {line}" for line in lines)])
