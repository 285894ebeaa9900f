"""A program of a test's own, which the test may freeze, kill and start again."""

import asyncio
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

import psutil

from stack.process import Program

START_TIMEOUT = 60
"""Seconds that it may take to answer."""


class Child:
    """Ends with the block, in its own way if it still runs."""

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
        """Run it, and return when it is ready."""
        with self._log.open("ab") as output:
            self._process = process = subprocess.Popen(  # noqa: ASYNC220 (asyncio's would log a killed one)
                self._program.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self._program.environment) or None,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not await self._program.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                await self.stop()
                raise RuntimeError(f"{self._program.name} did not start:\n{self._log.read_text()}")
            await asyncio.sleep(0.02)

    def freeze(self) -> None:
        """SIGSTOP to it and its children."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._send(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL to it and its children."""
        self._send(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> None:
        """As its operator would."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self._process.send_signal(self._program.stop_signal)
            try:
                self._process.wait(0)
            except subprocess.TimeoutExpired:
                await asyncio.to_thread(self._process.wait, self._program.stop_timeout)

    async def ended(self) -> int:
        """Wait for its end; the exit status, below zero for a signal."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, START_TIMEOUT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        # The parent first, which would start children again.
        for process in (parent, *parent.children(recursive=True)):
            process.send_signal(number)
