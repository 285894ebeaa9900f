"""Work that is done beside everything else for as long as a block lasts."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from evenkeel.tasks.ending import end


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the work, which ends by being cancelled only, until the block is left."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end(task)
