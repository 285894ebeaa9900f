import asyncio

import pytest

from evenkeel.cache.errors import Busy
from evenkeel.cache.gate import Gate

pytestmark = pytest.mark.anyio


async def test_so_many_inside_so_many_waiting_and_no_more() -> None:
    gate = Gate(width=2, queue=3)
    inside = most = 0
    leave = asyncio.Event()

    async def read() -> None:
        nonlocal inside, most
        async with gate.passed():
            inside += 1
            most = max(most, inside)
            await leave.wait()
            inside -= 1

    readers = [asyncio.create_task(read()) for _ in range(7)]
    await asyncio.sleep(0.01)
    refused = [reader for reader in readers if reader.done()]
    assert len(refused) == 2
    assert all(isinstance(reader.exception(), Busy) for reader in refused)
    assert gate.waiting == 3
    leave.set()
    await asyncio.gather(*readers, return_exceptions=True)
    assert (most, inside, gate.waiting) == (2, 0, 0)


async def test_reader_that_goes_away_leaves_its_place() -> None:
    gate = Gate(width=1, queue=1)
    async with gate.passed():
        waiting = asyncio.create_task(gate.passed().__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert gate.waiting == 0
    async with gate.passed():
        pass
