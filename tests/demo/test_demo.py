"""`make demo`: the whole of it, and what is left after it was killed."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

KILLED = """
import os, signal, subprocess, sys
from demo import leftovers
from stack.state import Record, State

with leftovers.cleared_away() as directory:
    child = subprocess.Popen(["sleep", "600"])
    State(leftovers.records(directory)).started(Record.of("sleep", child.pid))
    print(directory, child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_nothing_is_left_after_sigkill() -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, capture_output=True, text=True, check=False)
    directory, child = killed.stdout.split()
    _until(lambda: not Path(directory).exists() and not _runs(int(child)))


@pytest.mark.slow
def test_every_difference_shows(tmp_path: Path) -> None:
    """Settings of another stack do not matter."""
    report = tmp_path / "report.html"
    ended = subprocess.run(
        [sys.executable, "-m", "demo", "--html", str(report)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path), "GATEWAY_ACCESS": "tokens", "PORT": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "6 of 6 differences showed." in ended.stdout
    assert "\n  The difference did not show" not in ended.stdout
    assert "user-api-1 is healthy\n" in ended.stderr
    assert "demo: a thousand readers …\n" in ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr
    page = report.read_text()
    for bar in re.findall(r"^  (?:tutorial|Evenkeel) [█▏▎▍▌▋▊▉…]* ?(.+)$", ended.stdout, re.MULTILINE):
        assert f"<dd>{bar}" in page
    assert list(tmp_path.iterdir()) == [report]


def _runs(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
