"""Settings and the command line: a mistake is one line on standard error, and exit status 2."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from counter_api.main import create_app
from stack.layout import free_port

BIN = Path(sys.executable).parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COUNTER_API_")}


def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BIN / arguments[0], *arguments[1:]],
        env=ENVIRONMENT | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "COUNTER_API_REDIS_URL is required when COUNTER_API_STORE is redis"),
        ({"COUNTER_API_STORE": "file"}, "COUNTER_API_STORE: Input should be 'redis' or 'memory'"),
        ({"COUNTER_API_REDIS_URL": "http://:hunter2@h"}, "COUNTER_API_REDIS_URL: must look like redis://"),
        ({"COUNTER_API_REDIS_URL": "redis://:hunter2@h/0?x=1"}, "COUNTER_API_REDIS_URL: must look like redis://"),
        ({"COUNTER_API_REDIS_URL": "redis://:hunter2@h:port"}, "COUNTER_API_REDIS_URL: must look like redis://"),
        ({"COUNTER_API_REDIS_URL": "redis+sentinel://:hunter2@h:1"}, "COUNTER_API_REDIS_URL: the name of the service"),
        (
            {"COUNTER_API_REDIS_URL": "redis+sentinel://h:1/service", "COUNTER_API_SENTINEL_USERNAME": "me"},
            "COUNTER_API_SENTINEL_USERNAME and COUNTER_API_SENTINEL_PASSWORD go together: a user needs a password",
        ),
        (
            {"COUNTER_API_REDIS_URL": "redis://h:1", "COUNTER_API_SENTINEL_PASSWORD": "hunter2"},
            "COUNTER_API_SENTINEL_USERNAME and COUNTER_API_SENTINEL_PASSWORD are given, but the URL is not redis+",
        ),
        ({"COUNTER_API_STORE": "memory", "COUNTER_API_PORT": "x"}, "COUNTER_API_PORT: Input should be a valid integer"),
        ({"COUNTER_API_STORE": "memory", "COUNTER_API_IDEMPOTENCY_TTL": "0"}, "COUNTER_API_IDEMPOTENCY_TTL: "),
        ({"COUNTER_API_STORE": "memory", "WEB_CONCURRENCY": "2"}, "WEB_CONCURRENCY is '2'; use redis"),
        (
            {"COUNTER_API_STORE": "memory", "SERVER_SOFTWARE": "gunicorn/23"},
            "gunicorn starts several workers; use redis",
        ),
    ],
)
def test_wrong_settings(
    settings: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        create_app()
    assert ended.value.code == 2
    written = capsys.readouterr().err
    assert reason in written
    assert written.count("\n") == 1
    assert "hunter2" not in written


def test_a_wrong_setting_is_one_line_and_status_2() -> None:
    ended = run("counter-api", "serve", COUNTER_API_STORE="memory", WEB_CONCURRENCY="2")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("counts in one process only, but WEB_CONCURRENCY is '2'; use redis\n")
    assert ended.stderr.count("\n") == 1


def test_wrong_arguments() -> None:
    ended = run("counter-api", "bogus", COUNTER_API_STORE="memory")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: counter-api ")


@pytest.mark.slow
def test_memory_store_refuses_to_be_one_of_several_workers() -> None:
    arguments = ["counter_api.main:create_app", "--factory", "--workers", "2", "--port", str(free_port())]
    ended = run("uvicorn", *arguments, COUNTER_API_STORE="memory")
    # uvicorn gives up, instead of starting workers again and again.
    assert "this is a worker process of a server that starts several; use redis\n" in ended.stderr
    assert "Application startup complete" not in ended.stderr


@pytest.mark.parametrize("arguments", [pytest.param([], marks=pytest.mark.slow), ["serve"]])
def test_serves_until_sigterm(arguments: list[str]) -> None:
    port = free_port()
    settings = {"COUNTER_API_STORE": "memory", "COUNTER_API_PORT": str(port), "WEB_CONCURRENCY": "1"}
    with subprocess.Popen(
        [BIN / "counter-api", *arguments], env=ENVIRONMENT | settings, stderr=subprocess.PIPE
    ) as process:
        try:
            wait_until_alive(port)
            assert httpx.get(f"http://127.0.0.1:{port}/counter").json() == {"current_count": 1}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert process.stderr is not None
        assert not re.search(rb"Traceback|\"level\": \"error\"", process.stderr.read())


def wait_until_alive(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/livez").raise_for_status()
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
