"""A stack with its servers and gateway but without replicas: it starts, crashes, recovers and stops."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack.layout import free_port
from stack.state import State

STACK = Path(sys.executable).with_name("stack")
NO_REPLICAS = ("--user-api-replicas", "0", "--counter-api-replicas", "0")


class Stack:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = str(free_port())

    def run(self, *arguments: str) -> str:
        return subprocess.run(
            [STACK, "--directory", self.directory, *arguments], capture_output=True, text=True, check=True, timeout=180
        ).stdout

    def up(self) -> str:
        return self.run("up", "--port", self.port, *NO_REPLICAS)

    def processes(self) -> dict[str, dict[str, Any]]:
        return {process["name"]: process for process in json.loads(self.run("status", "--json"))["processes"]}

    def pids(self) -> dict[str, int]:
        return {name: process["pid"] for name, process in self.processes().items()}

    def kill_supervisor(self) -> None:
        supervisor = State(self.directory / "state.json").supervisor_process()
        assert supervisor is not None
        supervisor.kill()
        psutil.wait_procs([supervisor], timeout=5)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("lifecycle"))
    try:
        stack.up()
        yield stack
    finally:
        stack.run("down")


def test_status_says_where_everything_is(running: Stack) -> None:
    processes = running.processes()
    assert list(processes) == ["postgres", "redis-cache", "redis-counters", "gateway"]
    assert {process["state"] for process in processes.values()} == {"healthy"}
    assert processes["gateway"]["url"] == f"http://127.0.0.1:{running.port}"
    assert processes["postgres"]["dsn"].startswith("postgresql://user_api:")
    assert processes["redis-counters"]["dsn"].startswith("redis://:")


def test_passwords_are_in_no_command_line(running: Stack) -> None:
    secrets = json.loads((running.directory / "secrets.json").read_text()).values()
    command_lines = " ".join(" ".join(psutil.Process(pid).cmdline()) for pid in running.pids().values())
    assert not [secret for secret in secrets if secret in command_lines]


def test_a_second_up_changes_nothing(running: Stack) -> None:
    before = running.pids()
    running.up()
    assert running.pids() == before


@pytest.mark.parametrize(
    "name",
    [
        "postgres",
        "redis-counters",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("redis-cache", "gateway")),
    ],
)
def test_what_dies_comes_back_where_it_was(running: Stack, name: str) -> None:
    before = running.processes()[name]
    os.kill(before["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while (after := running.processes()[name])["state"] != "healthy" or after["pid"] == before["pid"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert after["url"] == before["url"]
    assert after["restarts"] == before["restarts"] + 1


@pytest.mark.slow
def test_a_killed_supervisor_leaves_nothing_behind_for_the_next(running: Stack) -> None:
    before = running.processes()
    running.kill_supervisor()
    with pytest.raises(subprocess.CalledProcessError) as failed:
        running.run("status")
    assert "the supervisor is gone, and nothing restarts" in failed.value.stderr
    running.up()
    after = running.processes()
    assert not [name for name, process in before.items() if psutil.pid_exists(process["pid"])]
    # Ports and passwords are kept.
    assert {name: process["url"] for name, process in after.items()} == {
        name: process["url"] for name, process in before.items()
    }


def test_another_stack_on_the_same_port(running: Stack, tmp_path: Path) -> None:
    other = Stack(tmp_path)
    other.port = running.port
    with pytest.raises(subprocess.CalledProcessError) as failed:
        other.up()
    assert failed.value.returncode == 1
    assert failed.value.stderr.startswith(f"stack: port {running.port} on 127.0.0.1 is taken, perhaps by another stack")


def test_down_leaves_no_process_and_keeps_the_data(running: Stack) -> None:
    pids = running.pids().values()
    running.run("down")
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert (running.directory / "data" / "postgres" / "PG_VERSION").read_text() == "18\n"


@pytest.mark.slow
def test_down_after_a_killed_supervisor_leaves_no_process(running: Stack) -> None:
    running.up()
    pids = running.pids().values()
    running.kill_supervisor()
    assert "redis-counters was left by a supervisor that had been killed" in running.run("down")
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_deleted_data_is_gone(running: Stack) -> None:
    running.run("down", "--delete-data")
    assert not running.directory.exists()
