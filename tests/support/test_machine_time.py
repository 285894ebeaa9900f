import asyncio
import time

import pytest
from tests.support.machine_time import machine_time

pytestmark = pytest.mark.anyio


async def test_what_the_machine_was_late_does_not_count() -> None:
    async with machine_time() as elapsed:
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 (as if other programs used the machine)
        await asyncio.sleep(0)
        assert elapsed() < 0.1
        while elapsed() < 0.2:  # noqa: ASYNC110 (the time advances by itself)
            await asyncio.sleep(0.01)
