"""Tasks end although a cancellation was dropped on the way to them."""

import asyncio
import contextlib
import gc
from typing import Any

import pytest
from redis.asyncio import Redis

from evenkeel.tasks import ending
from evenkeel.tasks.ending import end

pytestmark = pytest.mark.anyio

DEADLINE = 60.0
"""Seconds after which a test has failed."""

TURNS = 6
"""Turns of the event loop that a command and the next one take together."""


async def test_a_task_that_survives_one_cancellation_ends() -> None:
    survived = 0

    async def survive() -> None:
        nonlocal survived
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            survived += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(survive())
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        await end(task)
    assert (survived, task.cancelled()) == (1, True)


async def test_a_loop_of_commands_ends_whenever_it_is_cancelled(
    cache_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "AGAIN", 0.001)

    async def ask(redis: Redis) -> None:
        while True:
            await redis.get("key")

    for turns in range(TURNS):
        async with Redis.from_url(cache_url) as redis:
            await redis.get("key")
            task = asyncio.create_task(ask(redis))
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(DEADLINE):
                await end(task)


async def test_tasks_that_have_failed_or_returned_are_done() -> None:
    async def fail() -> None:
        raise OSError

    failed, returned = asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0))
    await asyncio.sleep(0.01)
    await end(failed, returned)
    assert isinstance(failed.exception(), OSError)
    await end()


async def test_what_was_raised_is_looked_at_even_if_ending_is_cancelled() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))

    async def fail() -> None:
        raise ConnectionError

    async def ignore() -> None:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    failed, slow = asyncio.create_task(fail()), asyncio.create_task(ignore())
    await asyncio.sleep(0.01)
    ending = asyncio.create_task(end(failed, slow))
    await asyncio.sleep(0.01)
    ending.cancel()
    await asyncio.wait([ending])
    assert ending.cancelled()
    assert slow.done(), "what it used may be closed now"
    del failed, slow, ending
    gc.collect()
    await asyncio.sleep(0)
    assert not complaints
