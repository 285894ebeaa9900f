"""Programs of the verification's own, beside the stack's: started for a scenario, and gone after it."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from stack.layout import free_port
from stack.process import Process, Program
from stack.services import Service
from stack.state import State
from stack.verify.deployment import Local
from stack.verify.prober import Target

FIRST_NUMBER = 101
"""Of our replicas: no stack has so many of its own."""


class Own:
    """Programs under our supervision, in a directory of their own."""

    def __init__(self, directory: Path, stack: contextlib.AsyncExitStack) -> None:
        self.directory = directory
        self._state = State(directory / "state.json")
        self._stack = stack
        self._numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + 100))

    async def start(self, program: Program) -> Process:
        """Until the end of the scenario; StackError unless it becomes ready."""
        process = Process(program, log_file=self.directory / f"{program.name}.log", state=self._state)
        self._stack.push_async_callback(process.stop)
        await process.start()
        if process.pid is not None:
            self._stack.callback(_end, _undertaker(process.pid))
        return process

    async def replica(self, settings: Mapping[str, str]) -> Target:
        """A replica of user-api with these settings."""
        service = Service("user-api", dict(settings))
        program = service.replica(next(self._numbers), free_port())
        await self.start(program)
        target = Target.at(program.name, program.url or "")
        self._stack.callback(target.pool.close)
        return target

    async def replica_beside(self, local: Local, settings: Mapping[str, str]) -> Target:
        """A replica with these settings that is asked as those of the stack are."""
        target = await self.replica(settings)
        self._stack.callback(local.leave_out, target)
        local.take_in(target)
        return target


@contextlib.asynccontextmanager
async def beside() -> AsyncIterator[Own]:
    with tempfile.TemporaryDirectory(prefix="evenkeel-verify-", ignore_cleanup_errors=True) as directory:
        async with contextlib.AsyncExitStack() as stack:
            yield Own(Path(directory), stack)


def _undertaker(pid: int) -> "subprocess.Popen[bytes]":
    """Ends the process although this program may have been killed meanwhile."""
    command = f"while kill -0 {os.getpid()}; do sleep 1; done; kill -INT {pid}"
    return subprocess.Popen(
        ["/bin/sh", "-c", command],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _end(undertaker: "subprocess.Popen[bytes]") -> None:
    undertaker.kill()
    undertaker.wait()
