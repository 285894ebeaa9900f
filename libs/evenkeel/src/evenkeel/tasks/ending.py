"""Ending tasks that run until they are cancelled."""

import asyncio
from typing import Any

AGAIN = 0.5
"""Seconds after which a task that has not ended is cancelled again."""


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel the tasks, and return when they are done; what they raise is left to those who await them.

    Once is not enough. `asyncio.wait_for` of Python 3.11, which redis-py sends every command with, drops a cancellation
    that comes in the same turn of the event loop as the end of what it waits for. And a driver that is cancelled while
    it connects may answer with an error of its own, which a loop survives as it survives every error.
    """
    for task in tasks:
        # First of all: this may be cancelled itself.
        task.add_done_callback(_look_at)
    cancelled: asyncio.CancelledError | None = None
    while pending := {task for task in tasks if not task.done()}:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=AGAIN)
        except asyncio.CancelledError as error:
            # Not before they have ended: whoever waits for this one closes what they use, and they would open it again.
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _look_at(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # else asyncio would log that nobody has looked at it
