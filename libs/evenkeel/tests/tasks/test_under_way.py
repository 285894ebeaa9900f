"""Tasks that nobody awaits are held until they have ended, and no longer."""

import asyncio
import gc
from typing import Any

import pytest

from evenkeel.tasks.under_way import UnderWay

pytestmark = pytest.mark.anyio


async def test_a_task_that_only_it_holds_goes_on() -> None:
    """Without it, the garbage collector takes the task together with what it waits for."""
    under_way, ended = UnderWay(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    under_way.add(asyncio.create_task(work()))
    await asyncio.sleep(0)
    gc.collect()
    assert not ended.is_set()
    await under_way.end()
    assert ended.is_set()


async def test_those_that_have_ended_are_let_go() -> None:
    under_way = UnderWay()
    tasks = [under_way.add(asyncio.create_task(asyncio.sleep(0))) for _ in range(3)]
    await under_way.settled()
    assert all(task.done() for task in tasks)
    await asyncio.sleep(0)  # the callbacks have run
    assert vars(under_way)["_tasks"] == set()
    await under_way.settled()
    await under_way.end()


async def test_settling_has_a_time_limit() -> None:
    under_way = UnderWay()
    task = under_way.add(asyncio.create_task(asyncio.Event().wait()))
    await under_way.settled(timeout=0.001)
    assert not task.done()
    await under_way.end()
    assert task.cancelled()


async def test_errors_of_failed_tasks_are_passed_on_once() -> None:
    errors: list[BaseException] = []
    under_way = UnderWay(failed=errors.append)

    async def fail() -> None:
        raise ValueError("no")

    failing = under_way.add(asyncio.create_task(fail()))
    cancelled = under_way.add(asyncio.create_task(asyncio.Event().wait()))
    cancelled.cancel()
    await under_way.settled()
    await asyncio.sleep(0)
    assert errors == [failing.exception()]


async def test_without_a_callback_asyncio_reports_errors() -> None:
    """So that a mistake in the task does not go unnoticed."""
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    try:
        under_way = UnderWay()

        async def fail() -> None:
            raise ValueError("a mistake")

        under_way.add(asyncio.create_task(fail()))
        await under_way.settled()
        await asyncio.sleep(0)
        gc.collect()
    finally:
        loop.set_exception_handler(before)
    assert [str(context["exception"]) for context in reported] == ["a mistake"]
