"""The command line where nothing runs."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

STACK = Path(sys.executable).with_name("stack")


def _run(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [STACK, "--directory", directory, *arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


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
        (["token"], {}),
        (["token", "users:read", "users:delete"], {}),
        (["token", "users:read", "--lifetime", "0"], {}),
        (["token", "users:read", "--subject", "a\nb"], {}),
        (["reload", "user-api"], {}),
        (["scale", "user-api", "-1"], {}),
        (["scale", "order-api", "1"], {}),
        (["restart", "postgres"], {}),
        (["logs", "nobody"], {}),
        (["dance"], {}),
        ([], {}),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    ended = _run(tmp_path, *arguments, **environment)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("stack: ")
    assert ended.stderr.count("\n") == 1


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
