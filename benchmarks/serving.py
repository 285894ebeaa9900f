"""Server processes under measurement, each pinned to the one core that they share; all else runs on another."""

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
from urllib.request import urlopen

import psutil
from tests.support.servers import Servers, embedded

from stack.layout import free_port

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[1]
KEY = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="

LIFETIME = 7200
"""Seconds that entries live: nothing expires while it is measured."""

START_TIMEOUT = 60
"""Seconds that a server may take to answer."""


@dataclass(frozen=True)
class Cores:
    servers: int
    load: int
    """Of the load, and of PostgreSQL and Redis."""

    @classmethod
    def of_this_machine(cls) -> Self:
        """The first and the last core that this process may use."""
        available = sorted(os.sched_getaffinity(0))
        return cls(available[0], available[-1])


@dataclass(frozen=True, eq=False)
class Program:
    """What to start, once. It finds its port in the environment or, if it is uvicorn, on its command line."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: str = "/livez"


def factory(name: str, **environment: str) -> Program:
    """An application of benchmarks/contestants.py."""
    uvicorn = [sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.contestants:{name}", "--no-access-log"]
    return Program(uvicorn, environment, ready="/openapi.json")


def user_api(database_url: str, cache_url: str, *, tiers: str, memory: int = 10_000) -> Program:
    """A replica with these tiers; `memory` in entries."""
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
    return Program([str(BIN / "user-api"), "serve"], settings, ready="/readyz")


def counter_api(redis_url: str) -> Program:
    return Program([str(BIN / "counter-api"), "serve"], {"COUNTER_API_REDIS_URL": redis_url}, ready="/readyz")


class Server:
    """A program that runs."""

    def __init__(self, program: Program, core: int | None) -> None:
        """On that core alone, if one is given."""
        self.port = free_port()
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
    def cpu_seconds(self) -> float:
        """CPU time that the process has used so far."""
        times = self._statistics.cpu_times()
        return times.user + times.system

    @property
    def resident(self) -> int:
        """Bytes of memory that the process has at present."""
        size: int = self._statistics.memory_info().rss
        return size

    def wait(self) -> None:
        """Return when it is ready; RuntimeError when it ends before, or takes too long."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._ready} does not answer")
            time.sleep(0.05)

    def stop(self) -> None:
        # Nobody balances the load here who would have to notice that it leaves (evenkeel.service.draining).
        self._process.send_signal(signal.SIGINT)

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
    """A ready server for each; a program that is named twice is started once."""
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
    """PostgreSQL and Redis, and this process and the load that it makes, on the core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        with embedded() as servers:
            yield servers
    finally:
        os.sched_setaffinity(0, before)
