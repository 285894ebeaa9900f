"""Signals of the demonstration reach the processes that they are meant for, and no others."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo import outages, stage

from stack.errors import StackError
from stack.process import Process, Program
from stack.state import State

pytestmark = pytest.mark.anyio


async def _ready() -> bool:
    return False


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    yield signals
    monkeypatch.undo()


@pytest.fixture
def process(tmp_path: Path) -> Process:
    """It does not run."""
    program = Program("redis", "tutorial", ["sleep", "60"], _ready)
    return Process(program, log_file=tmp_path / "log", state=State(tmp_path / "state.json"))


async def test_a_process_that_does_not_run_has_no_number(process: Process) -> None:
    with pytest.raises(StackError, match="redis does not run"):
        stage.pid_of(process)


async def test_a_process_that_does_not_run_is_not_killed(process: Process, sent: list[tuple[int, int]]) -> None:
    """A signal to process 0 would reach this program, and everything that has been started with it."""
    with pytest.raises(StackError, match="redis does not run"):
        await outages.kill_and_await(process)
    assert sent == []


async def test_a_process_that_does_not_return_is_an_error(
    process: Process, sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "RETURNS", 0.05)
    process.pid = 4711
    with pytest.raises(StackError, match="redis has not returned"):
        await outages.kill_and_await(process)
    assert sent == [(4711, signal.SIGKILL)]
