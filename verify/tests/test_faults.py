"""Faults of processes that the test starts."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from stack.errors import StackError
from verify import faults

pytestmark = pytest.mark.anyio

PARENT = "import subprocess; subprocess.run(['sleep', '60'])"


@pytest.fixture
def parent() -> Iterator[psutil.Process]:
    """A process with a child."""
    with subprocess.Popen([sys.executable, "-c", PARENT]) as running:
        process = psutil.Process(running.pid)
        while not process.children():
            pass
        yield process
        for child in process.children():
            child.kill()
        running.kill()


def _states(process: psutil.Process) -> set[str]:
    return {each.status() for each in (process, *process.children())}


async def _until_stopped(process: psutil.Process) -> None:
    """Wait until the process is stopped: the signal acts only when the process would run next."""
    async with asyncio.timeout(60):
        while _states(process) != {psutil.STATUS_STOPPED}:  # noqa: ASYNC110 (another process's doing)
            await asyncio.sleep(0.01)


async def test_a_frozen_process_and_its_children_stand_still_and_go_on(parent: psutil.Process) -> None:
    async with faults.stopped(parent.pid):
        await _until_stopped(parent)
    assert psutil.STATUS_STOPPED not in _states(parent)


async def test_it_goes_on_when_the_verification_fails_or_is_interrupted(parent: psutil.Process) -> None:
    async def freeze() -> None:
        async with faults.stopped(parent.pid):
            await asyncio.sleep(60)

    freezing = asyncio.create_task(freeze())
    await _until_stopped(parent)
    freezing.cancel()
    await asyncio.wait([freezing])
    assert psutil.STATUS_STOPPED not in _states(parent)


async def test_it_goes_on_even_when_the_verification_is_killed(parent: psutil.Process) -> None:
    code = (
        "import asyncio\n"
        "from verify import faults\n"
        "faults.FROZEN = 0.3\n"
        "async def freeze():\n"
        f"    async with faults.stopped({parent.pid}):\n"
        "        print('frozen', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(freeze())\n"
    )
    verification = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert verification.stdout is not None
    assert await verification.stdout.readline() == b"frozen\n"
    verification.kill()
    await verification.wait()
    async with asyncio.timeout(10):
        while psutil.STATUS_STOPPED in _states(parent):  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.05)


async def test_a_process_that_is_gone_cannot_be_frozen() -> None:
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await gone.wait()
    with pytest.raises(StackError, match="SIGSTOP could not be sent"):
        async with faults.stopped(gone.pid):
            pass
