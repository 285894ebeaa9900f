"""Two directions of one connection: when one of them ends, the other one has nothing left to do."""

import asyncio
from collections.abc import Coroutine

from evenkeel.tasks.ending import end


async def first_to_end(*coroutines: Coroutine[None, None, None]) -> None:
    """Run all until one returns or raises, cancel the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for task in done:
        task.result()
