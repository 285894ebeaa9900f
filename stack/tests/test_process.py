"""One supervised child, with programs that misbehave."""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.supervised import kill_until_back

from stack.errors import StackError
from stack.process import Process, Program
from stack.state import State

pytestmark = pytest.mark.anyio


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Process]:
    """A process that runs Python code, ready when the file `ready` is there."""

    def make(code: str, *, on_change: Callable[[], None] | None = None, stop_timeout: float = 5) -> Process:
        async def ready() -> bool:
            return (tmp_path / "ready").exists()

        program = Program(
            name="child",
            service="child",
            argv=[
                sys.executable,
                "-c",
                f"import pathlib, signal, sys, time\nhere = pathlib.Path({str(tmp_path)!r})\n{code}",
            ],
            ready=ready,
            stop_timeout=stop_timeout,
        )
        state = State(tmp_path / "state.json")
        return Process(program, log_file=tmp_path / "child.log", state=state, on_change=on_change)

    return make


READY = "(here / 'ready').touch()\n"
SLEEP = "time.sleep(60)\n"


async def test_it_starts_and_stops(make: Callable[..., Process], tmp_path: Path) -> None:
    process = make(READY + SLEEP)
    await process.start()
    running = await process.status()
    assert running["state"] == "healthy"
    os.kill(running["pid"], 0)
    await process.stop()
    stopped = await process.status()
    assert (stopped["state"], stopped["pid"]) == ("stopped", None)
    assert State(tmp_path / "state.json").stop_orphans() == []


async def test_it_is_started_again_when_it_dies(make: Callable[..., Process]) -> None:
    phases: list[str] = []

    def on_change() -> None:
        phases.append(process.phase)

    process: Process = make(READY + SLEEP, on_change=on_change)
    await process.start()
    first = process.pid
    await kill_until_back(process)
    assert phases == ["starting", "healthy", "restarting", "starting", "healthy"]
    assert process.pid != first
    await process.stop()


async def test_who_ends_at_once_is_reported_with_the_last_lines(make: Callable[..., Process]) -> None:
    process = make("sys.exit('the setting is wrong')")
    with pytest.raises(StackError, match=r"^child ended at once \(exit status 1\); see .*\n  the setting is wrong$"):
        await process.start()
    assert process.phase == "stopped"


async def test_who_ends_before_anybody_looks_is_reported(tmp_path: Path) -> None:
    """Several times, because the process may have ended before its record is made."""

    async def ready() -> bool:
        return False

    for _ in range(20):
        program = Program(name="child", service="child", argv=["/bin/false"], ready=ready)
        process = Process(program, log_file=tmp_path / "child.log", state=State(tmp_path / "state.json"))
        async with asyncio.timeout(30):
            with pytest.raises(StackError, match="ended at once"):
                await process.start()


async def test_a_full_disk_ends_no_supervision(make: Callable[..., Process], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    process = make(READY + SLEEP)
    await process.start()
    monkeypatch.setattr("stack.state.write_json", full)
    await kill_until_back(process)
    await process.stop()


async def test_a_program_that_is_missing_is_reported(tmp_path: Path) -> None:
    async def ready() -> bool:
        return False

    program = Program(name="child", service="child", argv=[str(tmp_path / "none")], ready=ready)
    process = Process(program, log_file=tmp_path / "child.log", state=State(tmp_path / "state.json"))
    with pytest.raises(StackError, match="No such file or directory"):
        await process.start()


async def test_who_does_not_stop_is_killed(make: Callable[..., Process]) -> None:
    process = make("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + SLEEP, stop_timeout=0.2)
    await process.start()
    async with asyncio.timeout(5):
        await process.stop()


async def test_a_second_stop_waits_for_the_first(make: Callable[..., Process]) -> None:
    code = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), (here / 'clean').touch(), sys.exit()))\n"
    process = make(code + READY + SLEEP)
    await process.start()
    pid = process.pid
    assert pid is not None
    await asyncio.gather(process.stop(), process.stop())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_cancelled_start_leaves_nothing(make: Callable[..., Process]) -> None:
    process = make(SLEEP)
    starting = asyncio.create_task(process.start())
    async with asyncio.timeout(10):
        while process.pid is None:  # noqa: ASYNC110 (another process's doing)
            await asyncio.sleep(0.01)
    pid = process.pid
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_heal_does_not_wait_for_the_next_turn(make: Callable[..., Process], tmp_path: Path) -> None:
    process = make("(here / 'broken').exists() and sys.exit(1)\n" + READY + SLEEP)
    await process.start()
    (tmp_path / "broken").touch()
    (tmp_path / "ready").unlink()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        # The pauses have grown by then.
        while process.restarts < 5:  # noqa: ASYNC110 (another process's doing)
            await asyncio.sleep(0.01)
    (tmp_path / "broken").unlink()
    async with asyncio.timeout(10):
        await process.heal()
    await process.stop()
