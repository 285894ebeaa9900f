"""The command line where nothing runs."""

import contextlib
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stack import control
from stack.cli import main
from stack.launch import AlreadyRunningError, holding
from stack.layout import Layout, repository_root
from stack.options import ENVIRONMENT
from stack.state import State

STACK = Path(sys.executable).with_name("stack")


def _invoke(directory: Path, *arguments: str, **environment: str) -> Result:
    """In this process, for what depends on the arguments alone."""
    clean = dict.fromkeys([*ENVIRONMENT.values(), "STACK_DIRECTORY"])
    return CliRunner().invoke(main, ["--directory", str(directory), *arguments], env=clean | environment)


def _run(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [STACK, "--directory", directory, *arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_command_imports_no_client_of_a_data_server() -> None:
    """They are more than half of what it could import, and most commands need none."""
    code = "import stack.cli, sys; print({'asyncpg', 'redis'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["up", "--port", "http"], {}),
        (["up"], {"PORT": "0"}),
        (["up"], {"USER_API_REPLICAS": "two"}),
        (["up", "--cache-url", "localhost"], {}),
        (["up", "--sidecars"], {"STACK_SIDECARS": "1", "PORT": "0"}),
        (["up"], {"STACK_SIDECARS": "maybe"}),
        (["up"], {"GATEWAY_ACCESS": "off"}),
        (["up", "--access", "closed"], {}),
        (["up", "--bogus"], {}),
        (["token"], {}),
        (["token", "users:read", "users:delete"], {}),
        (["token", "users:read", "--lifetime", "0"], {}),
        (["token", "users:read", "--subject", "a\nb"], {}),
        (["reload", "user-api"], {}),
        (["scale", "user-api", "-1"], {}),
        (["scale", "user-api", "65"], {}),
        (["scale", "user-api", "two"], {}),
        (["scale", "user-api"], {}),
        (["scale"], {}),
        (["scale", "order-api", "1"], {}),
        (["restart", "postgres"], {}),
        (["logs", "nobody"], {}),
        (["logs", "nobody", "-n", "-1"], {}),
        (["logs"], {}),
        (["status", "--json", "all"], {}),
        (["dance"], {}),
        ([], {}),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    ended = _invoke(tmp_path, *arguments, **environment)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("stack: ")
    assert ended.stderr.count("\n") == 1


def test_wrong_usage_as_a_program(tmp_path: Path) -> None:
    ended = _run(tmp_path, "status", "--xml")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "stack: no such option '--xml' (stack status --help)\n"


@pytest.mark.parametrize("command", [[], *([name] for name in main.commands)])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(tmp_path: Path, command: list[str], option: str) -> None:
    ended = _invoke(tmp_path / "none", *command, option)
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout.startswith(" ".join(["Usage: stack", *command]))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("option", "expected"), [([], None), (["--sidecars"], True), (["--no-sidecars"], False)])
def test_options_reach_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], *, expected: bool | None
) -> None:
    asked: list[dict[str, Any]] = []

    def ask(_: Path, request: dict[str, Any], **__: object) -> dict[str, Any]:
        asked.append(request)
        return {"gateway": "http://127.0.0.1:9000", "processes": []}

    monkeypatch.setattr(control, "ask", ask)
    arguments = ["up", "--port", "9000", "--user-api-replicas", "3", *option]
    assert _invoke(tmp_path / "stack", *arguments, COUNTER_API_REPLICAS="0").exit_code == 0
    [options] = [request["options"] for request in asked if request["command"] == "up"]
    assert (options["port"], options["user_api_replicas"], options["counter_api_replicas"]) == (9000, 3, 0)
    assert options["sidecars"] is expected


def test_the_directory_may_come_from_the_environment(tmp_path: Path) -> None:
    directory = tmp_path / "stack"
    made = CliRunner().invoke(main, ["token", "users:read"], env={"STACK_DIRECTORY": str(directory)})
    assert made.exit_code == 0
    assert (directory / "signing-keys.json").exists()


def test_nothing_runs(tmp_path: Path) -> None:
    status = _run(tmp_path, "status")
    assert (status.returncode, status.stderr) == (1, "stack: the stack is not running: `make up` starts it\n")
    status = _run(tmp_path, "status", "--json")
    assert (status.returncode, status.stdout) == (1, '{"gateway": null, "processes": []}\n')
    assert _run(tmp_path, "down").returncode == 0
    assert _run(tmp_path / "none", "down", "--delete-data").returncode == 0


def test_data_of_others_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    ended = _run(tmp_path, "down", "--delete-data")
    assert (ended.returncode, (tmp_path / "data").exists()) == (1, True)
    assert "holds no stack" in ended.stderr


def test_the_same_data_is_deleted_twice_at_once(tmp_path: Path) -> None:
    """Whoever comes second waits until the first one has ended."""
    layout = Layout(tmp_path, repository_root())
    layout.make()
    State(layout.state).end()
    with ThreadPoolExecutor() as threads:
        with holding(layout):
            both = [threads.submit(_run, tmp_path, "down", "--delete-data") for _ in range(2)]
            time.sleep(1)
        ended = [each.result() for each in both]
    assert [(each.returncode, each.stderr) for each in ended] == [(0, "")] * 2
    assert not tmp_path.exists()


def test_who_waits_for_a_directory_that_is_deleted_holds_nothing(tmp_path: Path) -> None:
    """Its lock file is not the one that the next process finds."""
    layout = Layout(tmp_path, repository_root())
    with ThreadPoolExecutor() as threads, contextlib.ExitStack() as first:
        first.enter_context(holding(layout))

        def second() -> bool:
            with holding(layout, patience=10), contextlib.suppress(AlreadyRunningError), holding(layout):
                return False
            return True

        waiting = threads.submit(second)
        time.sleep(0.2)
        layout.lock.unlink()
        first.close()
        assert waiting.result()


def test_a_port_that_is_taken_is_one_line_and_leaves_nothing_running(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = _run(tmp_path, "up", "--port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"stack: port {port} on 127.0.0.1 is taken")
    assert ended.stderr.count("\n") == 1
    assert _run(tmp_path, "status").returncode == 1
    assert _run(tmp_path, "down", "--delete-data").returncode == 0
    assert not tmp_path.exists()
