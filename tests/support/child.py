"""A program that one test starts, freezes, kills and starts again."""

import asyncio
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

import psutil
from tests.support import leftovers

from stack.process import Program

START_TIMEOUT = 60
"""Seconds within which the program must answer."""


class Child:
    """At the end of the block it is stopped in its normal way, if it still runs."""

    def __init__(self, program: Program, log: Path) -> None:
        self._program = program
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it, and return when it is ready."""
        with self._log.open("ab") as output:
            self._process = process = subprocess.Popen(  # noqa: ASYNC220 (asyncio's own would log a killed process)
                self._program.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**environment, **leftovers.inherited()} if (environment := self._program.environment) else None,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not await self._program.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                await self.stop()
                raise RuntimeError(f"{self._program.name} did not start:\n{self._log.read_text()}")
            await asyncio.sleep(0.02)

    def freeze(self) -> None:
        """Send SIGSTOP to it and its children."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    async def kill(self) -> None:
        """Send SIGKILL to it and its children."""
        self._send(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> None:
        """Stop it as an operator would."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self._process.send_signal(self._program.stop_signal)
            try:
                self._process.wait(0)
            except subprocess.TimeoutExpired:
                await asyncio.to_thread(self._process.wait, self._program.stop_timeout)

    async def ended(self) -> int:
        """Wait for its end. Returns the exit status, which is below zero for a signal."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, START_TIMEOUT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        # The parent first, because it would start its children again.
        for process in (parent, *parent.children(recursive=True)):
            process.send_signal(number)
