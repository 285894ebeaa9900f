"""Ending tasks that run until they are cancelled."""

import asyncio
from typing import Any

AGAIN = 0.5
"""Seconds after which a task that has not ended is cancelled again."""


async def end(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel the tasks, and return when they have ended. Their exceptions stay with them, for code that awaits them.

    One cancellation is not enough. redis-py sends every command with `asyncio.wait_for`. In Python 3.11 that drops a
    cancellation if the command ends in the same turn of the event loop. A driver that is cancelled while connecting may
    raise another error instead. A loop that goes on after errors then goes on.
    """
    for task in tasks:
        # Before anything else, because this function may be cancelled, too.
        task.add_done_callback(retrieve)
    cancelled: asyncio.CancelledError | None = None
    while pending := {task for task in tasks if not task.done()}:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=AGAIN)
        except asyncio.CancelledError as error:
            # Raised only after they have ended. The caller then closes what they use, and they would open it again.
            cancelled = error
    if cancelled is not None:
        raise cancelled


def retrieve(task: "asyncio.Future[Any]") -> None:
    """Look at the exception of a task that has ended. If nobody does, asyncio logs that it was never retrieved."""
    if not task.cancelled():
        task.exception()
