"""The measured server processes. They share one core, and everything else runs on another."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import psutil
from tests.support.servers import Servers, embedded

from stack.layout import free_port

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[1]
KEY = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="

LIFETIME = 7200
"""Seconds that entries live, so that nothing expires during a measurement."""

START_TIMEOUT = 180
"""Seconds that a server may take to answer."""


@dataclass(frozen=True)
class Cores:
    servers: int
    load: int
    """The core of the load, PostgreSQL and Redis."""

    @classmethod
    def of_this_machine(cls) -> Self:
        """The first and the last core that this process may use."""
        available = sorted(os.sched_getaffinity(0))
        return cls(available[0], available[-1])


@dataclass(frozen=True, eq=False)
class Program:
    """A program to start once. It gets its port from the environment or, with uvicorn, on the command line."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/livez"


def user_api(database_url: str, cache_url: str, *, tiers: str, memory: int = 10_000, programs: Path = BIN) -> Program:
    """A replica with these tiers; `memory` is a number of entries, and `programs` the folder of its program."""
    settings = {
        "USER_API_DATABASE_URL": database_url,
        "USER_API_CACHE_URL": cache_url,
        "USER_API_CACHE_KEYS": KEY,
        "USER_API_CACHE_TIERS": tiers,
        "USER_API_CACHE_TTL": str(LIFETIME),
        "USER_API_CACHE_STALE_TTL": str(LIFETIME),
        "USER_API_MEMORY_TTL": "3600",
        "USER_API_MEMORY_MAX_ENTRIES": str(memory),
    }
    return Program([str(programs / "user-api"), "serve"], settings, ready="/readyz")


def counter_api(redis_url: str, *, programs: Path = BIN) -> Program:
    return Program([str(programs / "counter-api"), "serve"], {"COUNTER_API_REDIS_URL": redis_url}, ready="/readyz")


class Server:
    """A running program."""

    def __init__(self, program: Program, core: int | None, *, port: int | None = None) -> None:
        """It runs on that core alone, if one is given."""
        self.port = port or free_port()
        self._ready = f"http://127.0.0.1:{self.port}{program.ready}"
        ports = {"USER_API_PORT": str(self.port), "COUNTER_API_PORT": str(self.port)}
        uvicorn = ["--port", str(self.port)] if "uvicorn" in program.command else []
        pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
        self._process = subprocess.Popen(
            [*pinned, *program.command, *uvicorn],
            env={**os.environ, **program.environment, **ports},
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._statistics = psutil.Process(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """The CPU time that the process has used so far."""
        times = self._statistics.cpu_times()
        return times.user + times.system

    @property
    def resident(self) -> int:
        """The memory of the process now, in bytes."""
        size: int = self._statistics.memory_info().rss
        return size

    def wait(self) -> None:
        """Return when it is ready; RuntimeError if it ends before, or takes too long."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._ready} does not answer")
            time.sleep(0.05)

    def stop(self) -> None:
        # No gateway is here that would have to notice that the replica is leaving (evenkeel.service.draining).
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def ended(self) -> None:
        self._process.wait()

    def _answers(self) -> bool:
        try:
            urlopen(self._ready, timeout=5).close()  # noqa: S310 (an address of our own)
        except HTTPError as answer:
            answer.close()
            return False
        except OSError:
            return False
        return True


@contextlib.contextmanager
def running(programs: Iterable[Program], core: int | None) -> Iterator[list[Server]]:
    """A ready server for each program. A program that is named twice is started once."""
    programs = list(programs)
    servers = {program: Server(program, core) for program in dict.fromkeys(programs)}
    try:
        for server in servers.values():
            server.wait()
        yield [servers[program] for program in programs]
    finally:
        for server in servers.values():
            server.stop()
        for server in servers.values():
            server.ended()


@contextlib.contextmanager
def pinned_servers(core: int) -> Iterator[Servers]:
    """PostgreSQL and Redis on the core, together with this process and its load."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        with embedded() as servers:
            yield servers
    finally:
        os.sched_setaffinity(0, before)


def redis_database(url: str, number: int) -> str:
    """The URL of another database of this Redis server."""
    return urlsplit(url)._replace(path=f"/{number}").geturl()
