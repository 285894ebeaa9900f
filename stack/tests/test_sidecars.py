"""Cache sidecars: one alone, and those of a stack while its replicas start, stop and die."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from redis import Redis
from redis.exceptions import ReadOnlyError

from stack.http_probe import http_get
from stack.layout import Layout, free_port
from stack.process import Process
from stack.sidecar import Sidecars
from stack.state import State
from stack.valkey import CACHE, Valkey

STACK = Path(sys.executable).with_name("stack")

# All characters that have a meaning in a URL, a configuration file or a command line.
PASSWORD = "p \"'#\\@:/?%ü"


@pytest.fixture
async def primary(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Process]:  # noqa: ARG001 (the loop)
    """A cache with a second user, whose password has such characters."""
    server = Valkey("primary", tmp_path / "primary", free_port(), "secret", CACHE)
    await server.create()
    process = Process(server.program(), log_file=tmp_path / "primary.log", state=State(tmp_path / "state.json"))
    await process.start()
    _admit_sidecars(process)
    yield process
    await process.stop()


def _admit_sidecars(primary: Process) -> None:
    assert primary.program.url is not None
    with Redis.from_url(primary.program.url) as client:
        client.set("key", "value")
        client.acl_setuser("sidecar", enabled=True, passwords=[f"+{PASSWORD}"], commands=["+@all"], keys=["*"])


@pytest.fixture
async def sidecar(primary: Process, tmp_path: Path) -> AsyncIterator[Process]:
    layout = Layout(tmp_path / "stack", tmp_path)
    layout.make()
    port = (primary.program.url or "").rpartition(":")[2]
    sidecars = Sidecars(f"redis://sidecar:{quote(PASSWORD, safe='')}@127.0.0.1:{port}", "own", layout)
    sidecars.make()
    process = Process(
        sidecars.program(1, 20001), log_file=tmp_path / "sidecar.log", state=State(tmp_path / "state.json")
    )
    await process.start()
    yield process
    await process.stop()
    for file in layout.sockets.iterdir():
        file.unlink()
    layout.sockets.rmdir()


@pytest.mark.anyio
async def test_a_sidecar_follows_its_primary_and_takes_no_writes(sidecar: Process) -> None:
    assert sidecar.program.dsn is not None
    with Redis.from_url(sidecar.program.dsn) as client:
        assert client.get("key") == b"value"
        with pytest.raises(ReadOnlyError):
            client.set("key", "another")


@pytest.mark.anyio
async def test_a_sidecar_shows_no_password_and_listens_on_a_private_socket_only(sidecar: Process) -> None:
    assert sidecar.pid is not None
    process = psutil.Process(sidecar.pid)
    assert "own" not in process.cmdline()
    assert not [each for each in process.net_connections() if each.status == psutil.CONN_LISTEN]
    assert sidecar.program.url is not None
    socket = Path(sidecar.program.url.removeprefix("unix://"))
    found = socket.lstat(), socket.parent.lstat()  # noqa: ASYNC240 (nothing else runs here)
    assert (stat.S_ISSOCK(found[0].st_mode), stat.S_IMODE(found[1].st_mode)) == (True, 0o700)


@pytest.mark.anyio
async def test_a_sidecar_cut_off_from_its_primary_says_so_and_goes_on_answering(
    primary: Process, sidecar: Process
) -> None:
    await primary.stop()
    assert (await sidecar.status())["state"] == "unready"
    assert sidecar.program.dsn is not None
    with Redis.from_url(sidecar.program.dsn) as client:
        assert client.get("key") == b"value"
    await primary.start()
    _admit_sidecars(primary)
    async with asyncio.timeout(15):
        while (await sidecar.status())["state"] != "healthy":  # noqa: ASYNC110 (another process's doing)
            await asyncio.sleep(0.05)


class Stack:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def run(self, *arguments: str, fails: bool = False) -> str:
        ended = subprocess.run(
            [STACK, "--directory", self._directory, *arguments],
            env={name: value for name, value in os.environ.items() if name != "STACK_SIDECARS"},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert (ended.returncode != 0) is fails, ended.stdout + ended.stderr
        return ended.stderr if fails else ended.stdout

    def processes(self) -> dict[str, dict[str, Any]]:
        return {process["name"]: process for process in json.loads(self.run("status", "--json"))["processes"]}

    def pids(self, *names: str) -> list[int]:
        processes = self.processes()
        return [processes[name]["pid"] for name in names]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("sidecars"))
    replicas = ("--user-api-replicas", "1", "--counter-api-replicas", "0")
    try:
        stack.run("up", "--sidecars", "--port", str(free_port()), *replicas)
        yield stack
    finally:
        stack.run("down")


@pytest.mark.slow
def test_each_replica_has_one_and_reads_from_it(running: Stack) -> None:
    processes = running.processes()
    names = ["user-api-1", "cache-sidecar-1", "postgres", "redis-cache", "redis-counters", "gateway"]
    assert list(processes) == names
    sidecar = processes["cache-sidecar-1"]
    assert (sidecar["service"], sidecar["state"]) == ("cache-sidecar", "healthy")
    assert psutil.Process(processes["user-api-1"]["pid"]).environ()["USER_API_CACHE_READ_URL"] == sidecar["dsn"]
    with Redis.from_url(sidecar["dsn"]) as client:
        assert client.info("replication")["master_port"] == int(processes["redis-cache"]["url"].split(":")[-1][:-2])


@pytest.mark.slow
def test_a_dead_sidecar_comes_back_and_its_replica_goes_on(running: Stack) -> None:
    replica, sidecar = running.pids("user-api-1", "cache-sidecar-1")
    os.kill(sidecar, signal.SIGKILL)
    _until(lambda: running.processes()["cache-sidecar-1"]["state"] == "healthy")
    [replica_after, sidecar_after] = running.pids("user-api-1", "cache-sidecar-1")
    assert replica_after == replica
    assert sidecar_after != sidecar


@pytest.mark.slow
def test_a_frozen_sidecar_does_not_keep_its_replica_from_answering(running: Stack) -> None:
    replica = running.processes()["user-api-1"]
    [sidecar] = running.pids("cache-sidecar-1")
    os.kill(sidecar, signal.SIGSTOP)
    try:
        for _ in range(3):
            answer = asyncio.run(http_get("/v1/users/1", port=int(replica["url"].rpartition(":")[2])))
            assert answer is not None
            assert answer.status == 404
    finally:
        os.kill(sidecar, signal.SIGCONT)
    _until(lambda: running.processes()["cache-sidecar-1"]["state"] == "healthy")


@pytest.mark.slow
def test_they_are_scaled_and_replaced_with_their_replicas(running: Stack) -> None:
    [first] = running.pids("cache-sidecar-1")
    running.run("scale", "user-api", "2")
    assert running.pids("cache-sidecar-1")[0] == first
    second = running.processes()["cache-sidecar-2"]
    assert second["state"] == "healthy"
    running.run("restart", "user-api")
    replaced = running.processes()
    assert not {first, second["pid"]} & {process["pid"] for process in replaced.values()}
    assert {replaced[name]["state"] for name in ("cache-sidecar-1", "cache-sidecar-2")} == {"healthy"}
    running.run("scale", "user-api", "1")
    assert "cache-sidecar-2" not in running.processes()
    assert not psutil.pid_exists(replaced["cache-sidecar-2"]["pid"])


@pytest.mark.slow
def test_a_second_up_leaves_them_alone_and_cannot_take_them_away(running: Stack) -> None:
    before = running.pids("user-api-1", "cache-sidecar-1")
    running.run("up")
    running.run("up", "--sidecars")
    assert running.pids("user-api-1", "cache-sidecar-1") == before
    refused = running.run("up", "--no-sidecars", fails=True)
    assert refused == "stack: whether there are sidecars cannot change while the stack runs; run `make down` first\n"


@pytest.mark.slow
def test_down_stops_them(running: Stack) -> None:
    pids = running.pids("user-api-1", "cache-sidecar-1")
    running.run("down")
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
