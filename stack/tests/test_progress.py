"""What is shown while the supervisor works."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stack import console, control, progress
from stack.errors import StackError
from stack.layout import Layout

Answer = list[tuple[int, str, str]] | StackError


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, tmp_path)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The supervisor's answers, one after the other; the last one is repeated."""

    def set_answers(*given: Answer) -> None:
        waiting = list(given)

        def ask(_: Path, request: dict[str, Any], *, timeout: float) -> dict[str, Any]:
            assert (request, timeout) == ({"command": "phases"}, progress.TIMEOUT)
            answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            if isinstance(answer, StackError):
                raise answer
            return {"processes": [{"pid": pid, "name": name, "phase": phase} for pid, name, phase in answer]}

        monkeypatch.setattr(control, "ask", ask)
        monkeypatch.setattr(progress, "INTERVAL", 0.01)

    return set_answers


def _lines(layout: Layout, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with progress.shown(layout, "Starting …"):
        time.sleep(0.2)
    return capsys.readouterr().err.splitlines()


def test_a_line_for_each_process_that_becomes_healthy(
    layout: Layout, answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    answers(
        control.NotRunningError("the stack is not running"),
        [],
        [(1, "postgres", "starting"), (2, "gateway", "healthy")],
        [(1, "postgres", "healthy"), (2, "gateway", "healthy")],
    )
    assert _lines(layout, capsys) == ["gateway is healthy", "postgres is healthy"]


def test_no_line_for_what_was_healthy_before(
    layout: Layout, answers: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A replica that is replaced has the name of its successor, and another process id."""
    answers(
        [(1, "user-api-1", "healthy")],
        StackError("the stack's supervisor does not answer"),
        [(1, "user-api-1", "draining"), (2, "user-api-1", "healthy")],
    )
    assert _lines(layout, capsys) == ["user-api-1 is healthy"]


def test_what_became_healthy_at_the_last_moment_is_shown(
    layout: Layout, answers: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers([], [(1, "postgres", "healthy")])
    monkeypatch.setattr(progress, "INTERVAL", 60)
    assert _lines(layout, capsys) == ["postgres is healthy"]


def test_a_terminal_shows_all_processes_and_is_clean_afterwards(
    layout: Layout, answers: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "is_terminal", lambda _: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    answers([], [(1, "postgres", "starting"), (2, "gateway", "healthy")])
    with progress.shown(layout, "Starting …"):
        time.sleep(0.3)
    shown = capsys.readouterr().err
    assert "Starting …" in shown
    assert "0:00:00" in shown
    assert "\x1b[33mstarting" in shown
    assert "\x1b[32mhealthy" in shown
    assert shown.endswith("\x1b[2K")  # the lines are erased
