"""The process that keeps a stack alive. It serves the control socket, and ends with the stack."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine
from typing import Any

from stack import control, logs
from stack.errors import StackError
from stack.layout import Layout
from stack.local_stack import LocalStack
from stack.options import Options
from stack.services import SERVICES
from stack.state import State

log = logging.getLogger(__name__)

# Seconds between checks of the logs' sizes.
TRIM_INTERVAL = 5.0

# A supervisor is launched to start a stack. Without a request to do so it ends.
FIRST_REQUEST_WITHIN = 60.0


class Supervisor:
    """Runs one operation at a time; `down` interrupts it."""

    def __init__(self, layout: Layout, state: State) -> None:
        self._layout = layout
        self._state = state
        self._stack: LocalStack | None = None
        self._asked = asyncio.Event()
        self._finished = asyncio.Event()
        self._leaving = False
        self._one_at_a_time = asyncio.Lock()
        self._operation: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until the stack has been taken down, or could not be started."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        async with control.Server(self._layout.control_socket, self.handle):
            trimming = asyncio.create_task(self._trim_logs())
            leaving = asyncio.create_task(self._leave_if_forgotten())
            await self._finished.wait()
            trimming.cancel()
            leaving.cancel()
        self._state.end()

    async def handle(self, request: control.Request) -> control.Answer:
        """Carry out the request; the answer to a change is the status after it. Raises StackError."""
        match request:
            case {"command": "status"}:
                return await self._status()
            case {"command": "phases"}:
                return {"processes": self._stack.phases() if self._stack else []}
            case {"command": "up", "options": dict(options)}:
                await self._do(self._up(Options(**options)))
            case {"command": "scale", "service": str(service), "count": int(count)} if service in SERVICES:
                await self._do(self._running().scale(service, count))
            case {"command": "restart", "service": str(service)} if service in SERVICES:
                await self._do(self._running().restart(service))
            case {"command": "reload", "service": "gateway"}:
                await self._do(self._running().reload_gateway())
            case {"command": "down"}:
                await self._down()
                return {"pid": os.getpid()}
            case _:
                raise StackError(f"the supervisor has no command {request.get('command')!r}")
        return await self._status()

    async def _up(self, options: Options) -> None:
        self._asked.set()
        if self._stack is not None:
            await self._stack.adjust(options)
            return
        try:
            self._stack = LocalStack(self._layout, options, self._state)
            await self._stack.start()
        except BaseException as error:
            log.warning("the stack could not be started: %s", error)
            await self._finish()
            raise

    async def _down(self) -> None:
        self._leaving = True
        if self._operation is not None:
            self._operation.cancel()
        async with self._one_at_a_time:
            await self._finish()

    async def _finish(self) -> None:
        if self._stack is not None:
            await self._stack.stop()
            self._stack = None
        self._finished.set()

    async def _do(self, operation: Coroutine[Any, Any, None]) -> None:
        async with self._one_at_a_time:
            if self._leaving or self._finished.is_set():
                operation.close()
                raise StackError("the stack is going down")
            self._operation = asyncio.create_task(operation)
            try:
                await asyncio.wait([self._operation])
                if self._operation.cancelled():
                    raise StackError("interrupted by `stack down`")
                self._operation.result()
            finally:
                self._operation = None

    async def _status(self) -> dict[str, Any]:
        return await self._running().status()

    def _running(self) -> LocalStack:
        if self._stack is None:
            raise StackError("the stack is not running")
        return self._stack

    def _on_signal(self) -> None:
        self._last_down = asyncio.create_task(self._down())  # kept, because the loop holds tasks only weakly

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(TRIM_INTERVAL)
            try:
                await asyncio.to_thread(logs.trim, self._layout.logs)
            except OSError as error:  # a full disk, or a deleted file
                log.warning("the logs could not be kept small: %s", error)

    async def _leave_if_forgotten(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_REQUEST_WITHIN):
                await self._asked.wait()
                return
        self._finished.set()
