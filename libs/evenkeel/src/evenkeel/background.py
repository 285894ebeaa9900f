"""Work that is done beside everything else for as long as a block lasts."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the work, which ends by being cancelled only, until the block is left."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        # Again and again, because a driver that is cancelled in the middle of connecting may answer with an error of
        # its own, which the work survives as it survives every error.
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.1)
