"""Two replicas of one service with a Redis of its own, whose parts can be broken."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from benchmarks.faulty.link import Link
from benchmarks.serving import Program, Server
from redis.asyncio import Redis

from stack import valkey
from stack.layout import free_port
from stack.valkey import Valkey

REPLICAS = 2

SLOW = 0.6
"""Seconds that commands of one replica take to Redis while its link is slow."""

CUT_OFF = 1.5
"""Seconds for which a writer cannot reach Redis before it is killed, so that it has committed changes."""

AWAY = 3.0
"""Seconds for which Redis is stopped while it is restarted."""

BEHIND = 4.0
"""Seconds by which the replica of Redis is behind when the primary is lost."""

SAVING = valkey.CACHE | {"save": "3600 1 300 100 60 10000"}
"""With the points of time at which Redis saves its data by default, so also when it is stopped."""


class RedisProcess:
    def __init__(self, name: str, directory: Path, **settings: str) -> None:
        self._server = Valkey(name, directory / name, free_port(), "benchmark", SAVING | settings)
        self._child: subprocess.Popen[bytes] | None = None
        self.url = self._server.url

    async def start(self) -> None:
        await self._server.create()
        program = self._server.program()
        self._child = subprocess.Popen(  # noqa: ASYNC220 (it returns at once)
            program.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not await program.ready():
            if self._child.poll() is not None:
                raise RuntimeError(f"{program.name} ended at once, with status {self._child.returncode}")
            await asyncio.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        if self._child is not None:
            os.kill(self._child.pid, number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._child is not None:
            self.send(signal.SIGCONT)
            self.send(number)
            await asyncio.to_thread(self._child.wait)
            self._child = None


class Rig:
    """`make` gives the program of a replica for the URL of Redis."""

    def __init__(self, make: Callable[[str], Program], directory: Path) -> None:
        self._make = make
        self._primary = RedisProcess("primary", directory)
        self._links = [Link(self._primary.url) for _ in range(REPLICAS)]
        self._behind = Link(self._primary.url)
        self._directory = directory
        self._second: RedisProcess | None = None
        self._servers: dict[int, Server] = {}
        self._ports = [free_port() for _ in range(REPLICAS)]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Rig"]:
        async with contextlib.AsyncExitStack() as stack:
            await self._primary.start()
            stack.push_async_callback(self._primary.stop)
            for link in (*self._links, self._behind):
                await stack.enter_async_context(link.open())
            # One address that moves is what managed servers offer, and what all caches take.
            self._second = RedisProcess(
                "second", self._directory, replicaof=f"127.0.0.1 {self._behind.port}", primaryauth="benchmark"
            )
            await self._second.start()
            stack.push_async_callback(self._second.stop)
            stack.push_async_callback(self._stop_servers)
            for number in range(REPLICAS):
                await self._start(number)
            yield self

    def faults(self) -> "dict[str, tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]] | None]]":
        """How each is injected and healed, in the order of the phases."""
        return {
            "late-fill": (self._slow_link, self._fast_link),
            "writer-killed": (self._kill_writer, None),
            "redis-frozen": (self._freeze, self._thaw),
            "redis-restarted": (self._restart, None),
            "failover": (self._fail_over, None),
        }

    async def _start(self, number: int) -> None:
        self._servers[number] = Server(self._make(self._links[number].url), None, port=self._ports[number])
        await asyncio.to_thread(self._servers[number].wait)

    async def _stop_servers(self) -> None:
        for server in self._servers.values():
            server.kill()

    async def _slow_link(self) -> None:
        """The second replica's way to Redis is slow: what it has read from the database arrives there late."""
        self._links[1].delay = SLOW

    async def _fast_link(self) -> None:
        self._links[1].delay = 0

    async def _kill_writer(self) -> None:
        """The first replica commits changes and cannot reach Redis. Then it is killed, and started again."""
        self._links[0].loses = True
        await asyncio.sleep(CUT_OFF)
        self._servers[0].kill()
        self._links[0].loses = False
        await self._start(0)

    async def _freeze(self) -> None:
        self._primary.send(signal.SIGSTOP)

    async def _thaw(self) -> None:
        self._primary.send(signal.SIGCONT)

    async def _restart(self) -> None:
        """Redis is stopped in its normal way, and started again with what it has saved."""
        await self._primary.stop()
        for link in self._links:
            link.reset()
        await asyncio.sleep(AWAY)
        await self._primary.start()

    async def _fail_over(self) -> None:
        """The primary is lost, and its replica, which is some seconds behind, takes its place and its address."""
        assert self._second is not None  # noqa: S101 (set in `running`)
        self._behind.loses_answers = True
        await asyncio.sleep(BEHIND)
        await self._primary.stop(signal.SIGKILL)
        async with Redis.from_url(self._second.url) as redis:
            await redis.replicaof("NO", "ONE")
        for link in self._links:
            link.target = self._second.url
            link.reset()
