"""state.json: the stack's processes are recognised, and no others are ended."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.layout import PORTS, PORTS_VARIABLE, free_port
from stack.state import Record, State


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_orphans_are_ended_by_the_next(path: Path, child: subprocess.Popen[bytes]) -> None:
    first = State(path)
    first.begin(path.with_name("control.sock"))
    first.started(Record.of("user-api-1", child.pid))
    assert State(path).stop_orphans() == ["user-api-1"]
    assert child.poll() is not None


def test_a_recycled_process_id_is_left_alone(path: Path, child: subprocess.Popen[bytes]) -> None:
    state = State(path)
    state.started(Record("user-api-1", child.pid, started=Record.of("", child.pid).started - 60))
    assert State(path).stop_orphans() == []
    assert child.poll() is None


def test_what_has_ended_is_no_orphan(path: Path, child: subprocess.Popen[bytes]) -> None:
    state = State(path)
    state.started(Record.of("user-api-1", child.pid))
    state.ended(child.pid)
    assert State(path).stop_orphans() == []
    assert child.poll() is None


def test_the_supervisor_is_known_until_it_ends(path: Path) -> None:
    state = State(path)
    state.begin(path.with_name("control.sock"))
    found = State(path).supervisor_process()
    assert found is not None
    assert found.pid == os.getpid()
    state.end()
    assert State(path).supervisor_process() is None


def test_ports_are_some_of_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PORTS_VARIABLE, "20100-20101")
    assert {free_port() for _ in range(50)} <= {20100, 20101}
    monkeypatch.setenv(PORTS_VARIABLE, "20100")
    with pytest.raises(StackError, match="must look like 20000-29999"):
        free_port()


def test_ports_are_kept(path: Path) -> None:
    port = State(path).port("postgres")
    assert port in PORTS
    assert State(path).port("postgres") == port


@pytest.mark.parametrize("text", ["", "{", "[]", '{"processes": [{"name": 1}, null]}'])
def test_a_damaged_file_counts_as_none(path: Path, text: str) -> None:
    path.write_text(text)
    assert State(path).stop_orphans() == []


def test_it_is_for_the_owner_only(path: Path) -> None:
    State(path).port("postgres")
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["processes"] == []


def test_a_deleted_directory_does_not_keep_processes_from_being_stopped(tmp_path: Path) -> None:
    state = State(tmp_path / "gone" / "state.json")
    state.ended(1)
    state.end()
