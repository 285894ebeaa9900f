"""Faults of processes under supervision."""

import asyncio
import os
import signal

from stack.process import Process


async def kill_until_back(process: Process) -> None:
    """SIGKILL to a process that has not been restarted yet. Returns when it was restarted and is healthy."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while process.restarts == 0 or process.phase != "healthy":  # noqa: ASYNC110 (another process sets no event)
            await asyncio.sleep(0.01)
