"""Coroutines that belong together, such as the two directions of a connection: when one ends, all end."""

import asyncio
from collections.abc import Coroutine

from evenkeel.tasks.ending import end


async def first_to_end(*coroutines: Coroutine[None, None, None]) -> None:
    """Run all until one returns or raises. Cancel the others, and raise its exception."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(*tasks)
    for task in done:
        task.result()
