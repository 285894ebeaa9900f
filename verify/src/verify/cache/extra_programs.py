"""Programs that a scenario starts beside the stack's, and ends with itself."""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from stack.layout import free_port
from stack.process import Process, Program
from stack.services import Service
from stack.state import State
from verify.deployment import Local
from verify.target import Target
from verify.watchdog import watchdog

FIRST_NUMBER = 101
"""The first number of our replicas. No stack has so many."""

UNTIL_WE_ARE_GONE = "while kill -0 {us}; do sleep 1; done; kill -INT {program}"


class ExtraPrograms:
    """Programs under our supervision, in a directory of their own."""

    def __init__(self, directory: Path, stack: contextlib.AsyncExitStack) -> None:
        self.directory = directory
        self._state = State(directory / "state.json")
        self._stack = stack
        self._numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + 100))

    async def start(self, program: Program) -> Process:
        """Run the program until the end of the scenario. Raises StackError unless it becomes ready."""
        process = Process(program, log_file=self.directory / f"{program.name}.log", state=self._state)
        self._stack.push_async_callback(process.stop)
        await process.start()
        if process.pid is not None:
            self._stack.enter_context(watchdog(UNTIL_WE_ARE_GONE.format(us=os.getpid(), program=process.pid)))
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
        """A replica with these settings that gets requests like those of the stack."""
        target = await self.replica(settings)
        self._stack.callback(local.leave_out, target)
        local.take_in(target)
        return target


@contextlib.asynccontextmanager
async def extra_programs() -> AsyncIterator[ExtraPrograms]:
    with tempfile.TemporaryDirectory(prefix="evenkeel-verify-", ignore_cleanup_errors=True) as directory:
        async with contextlib.AsyncExitStack() as stack:
            yield ExtraPrograms(Path(directory), stack)
