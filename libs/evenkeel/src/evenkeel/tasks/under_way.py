"""Tasks that go on although nobody awaits them."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from evenkeel.tasks.ending import end

F = TypeVar("F", bound="asyncio.Future[Any]")


class UnderWay:
    """Holds tasks until they have ended. The event loop holds them weakly, so they could vanish before that."""

    def __init__(self, failed: Callable[[BaseException], object] | None = None) -> None:
        """`failed` gets the error of each task that fails. Without it, asyncio logs errors that nobody retrieves."""
        self._tasks: set[asyncio.Future[Any]] = set()
        self._failed = failed

    def add(self, task: F) -> F:
        """Hold the task, or another future, and return it."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def settled(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 (those left over are no error)
        """Return when all have ended, or after so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)

    async def end(self) -> None:
        """Cancel all, and return when they have ended."""
        await end(*self._tasks)

    def _ended(self, task: "asyncio.Future[Any]") -> None:
        self._tasks.discard(task)
        if self._failed is not None and not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
