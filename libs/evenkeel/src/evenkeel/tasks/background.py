"""Work in the background for as long as a block runs."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from evenkeel.tasks.ending import end


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the work, which does not end by itself, until the block is left."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end(task)
