"""Faults that are commands of the caller's, and the commands that undo them."""

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from stack.errors import StackError, UsageError

WITHIN = 180.0
"""Seconds in which a command must end."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

RESERVED = {"none", "sql", "end"}


@dataclass(frozen=True)
class FaultCommands:
    name: str
    inject: str
    heal: str | None


def fault_commands(faults: Sequence[str], heals: Sequence[str]) -> list[FaultCommands]:
    """From the values of --fault and --heal, in the order of the faults. Raises UsageError."""
    injecting, healing = _named("--fault", faults), _named("--heal", heals)
    if unknown := healing.keys() - injecting.keys():
        raise UsageError(f"--heal: there is no --fault {min(unknown)}=…")
    return [FaultCommands(name, command, healing.get(name)) for name, command in injecting.items()]


def _named(option: str, texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, _, command = text.partition("=")
        if not _NAME.fullmatch(name) or not command.strip():
            raise UsageError(f"{option} must be like NAME=COMMAND, with lower-case letters in the name, not {text!r}")
        if name in RESERVED:
            raise UsageError(f"{option}: {name!r} is the name of another phase")
        if name in found:
            raise UsageError(f"{option}: {name!r} is given twice")
        found[name] = command
    return found


async def run(command: str) -> None:
    """By a shell, in a session of its own: Ctrl-C ends this program, and not the command.

    Raises StackError if the command fails, or does not end. A process that it leaves behind may keep its output open.
    """
    with tempfile.TemporaryFile() as output:
        shell = await asyncio.create_subprocess_shell(
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(WITHIN):
                status = await shell.wait()
        except TimeoutError:
            raise StackError(f"{command!r} has not ended within {WITHIN:g} s") from None
        finally:
            if shell.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
                await shell.wait()
        if status:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
            raise StackError(f"{command!r} ended with status {status}: {lines[-1] if lines else 'no output'}")
