"""One child process that is started again whenever it ends."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import psutil

from stack import logs
from stack.command import LINES_SHOWN, exit_text, explain
from stack.errors import StackError
from stack.state import Record, State

log = logging.getLogger(__name__)

START_TIMEOUT = 120.0
"""Seconds in which a program must become ready."""

READY_POLL = 0.05
MAX_BACKOFF = 5.0
# A program that has run this long starts again without delay.
STABLE_AFTER = 10.0

Phase = Literal["stopped", "starting", "healthy", "restarting", "draining"]


@dataclass(frozen=True)
class Program:
    """What to run, and how to find out whether it is ready."""

    name: str
    service: str
    argv: Sequence[str]
    ready: Callable[[], Awaitable[bool]]
    url: str | None = None
    dsn: str | None = None
    """For data servers: where clients connect, with the password."""
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    """Called before each start."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 15.0
    """Seconds between the stop signal and SIGKILL."""


class Process:
    """A program under supervision.

    `on_change` is called at every change of `phase`. When the program ends, that comes before all else.
    """

    def __init__(
        self, program: Program, *, log_file: Path, state: State, on_change: Callable[[], None] | None = None
    ) -> None:
        self.program = program
        self.phase: Phase = "stopped"
        self.pid: int | None = None
        self.restarts = 0
        self._log_file = log_file
        self._log_offset = 0
        self._state = state
        self._on_change = on_change
        self._last_exit = ""
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Run the program until `stop`, and return when it is ready.

        Raises StackError with the end of its log if it ends before that or takes too long. It is stopped then.
        """
        self._stopping = False
        self._task = asyncio.create_task(self._keep_running(), name=self.program.name)
        try:
            await self._until_healthy(patient=False)
        except BaseException:
            await self.stop()
            raise

    async def heal(self) -> None:
        """Return when the program is ready. If it keeps failing, it starts again at once instead of after its pause."""
        self._hurry.set()
        await self._until_healthy(patient=True)

    async def stop(self) -> None:
        """Send the stop signal, wait, and kill the program if it has not ended in time."""
        if self._task is None:
            return
        if not self._stopping:  # a second cancellation would end the wait of the first one
            self._stopping = True
            self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        self.pid = None
        self._enter("stopped")

    def drain(self) -> None:
        """Mark a process that gets no new requests."""
        self._enter("draining")

    async def status(self) -> dict[str, Any]:
        """Its entry in `stack status --json`. This probes the program."""
        ready = self.phase != "healthy" or await self.program.ready()
        entry = {
            "name": self.program.name,
            "service": self.program.service,
            "pid": self.pid,
            "url": self.program.url,
            "state": self.phase if ready else "unready",
            "restarts": self.restarts,
        }
        return entry | ({"dsn": self.program.dsn} if self.program.dsn else {})

    async def _until_healthy(self, *, patient: bool) -> None:
        before = self.restarts
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while self.phase != "healthy":
                    if self._last_exit and not patient:
                        raise StackError(self._explain(f"ended at once ({self._last_exit})"))
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            reason = f"keeps ending ({self._last_exit})" if self.restarts > before else "did not become ready in time"
            raise StackError(self._explain(reason)) from None

    def _explain(self, reason: str) -> str:
        lines = logs.tail(self._log_file, LINES_SHOWN, since=self._log_offset)
        return explain(f"{self.program.name} {reason}", self._log_file, lines)

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            self._last_exit = await self._run_once()
            self.pid = None
            failures = 0 if time.monotonic() - began > STABLE_AFTER else failures + 1
            self.restarts += 1
            self._enter("restarting")
            log.warning("%s ended (%s)", self.program.name, self._last_exit)
            await self._pause(min(MAX_BACKOFF, 0.05 * 2**failures))

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass

    async def _run_once(self) -> str:
        """Run the program until it ends; returns how it ended."""
        try:
            if self.program.prepare:
                self.program.prepare()
            child = await self._spawn()
        except (OSError, StackError) as error:
            return f"{error}"
        self.pid = child.pid
        self._enter("starting")
        readiness = asyncio.create_task(self._watch_readiness())
        try:
            status = await child.wait()
        except asyncio.CancelledError:
            await self._terminate(child)
            raise
        finally:
            readiness.cancel()
            self._write(lambda: self._state.ended(child.pid))
        return exit_text(status)

    async def _spawn(self) -> asyncio.subprocess.Process:
        with self._log_file.open("ab") as output:
            self._log_offset = output.tell()
            spawning = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *self.program.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=os.environ | dict(self.program.environment),
                )
            )
            try:
                child = await asyncio.shield(spawning)
            except asyncio.CancelledError:  # it may exist by now, and nothing else would end it
                await self._terminate(await spawning)
                raise
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended by now
            record = Record.of(self.program.name, child.pid, self.program.stop_signal)
            self._write(lambda: self._state.started(record))
        return child

    async def _watch_readiness(self) -> None:
        while not await self.program.ready():  # noqa: ASYNC110 (another process's state)
            await asyncio.sleep(READY_POLL)
        if self.phase == "starting":
            self._enter("healthy")

    async def _terminate(self, child: asyncio.subprocess.Process) -> None:
        if child.returncode is not None:
            return
        child.send_signal(self.program.stop_signal)
        try:
            async with asyncio.timeout(self.program.stop_timeout):
                await child.wait()
        except TimeoutError:
            log.warning("%s did not end in time and is killed", self.program.name)
            child.kill()
            await child.wait()

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._changed.set()
        if self._on_change:
            self._write(self._on_change)

    def _write(self, change: Callable[[], None]) -> None:
        """A full disk must not end the supervision. Files are out of date until the next change."""
        try:
            change()
        except OSError as error:
            log.warning("a change of %s could not be written: %s", self.program.name, error)


class MakeProcess(Protocol):
    """Makes processes that log and leave records in one stack's directory."""

    def __call__(self, program: Program, on_change: Callable[[], None] | None = None) -> Process: ...
