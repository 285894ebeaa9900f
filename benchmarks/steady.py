"""Open-loop reads: they begin at a steady rate, whether or not earlier ones have been answered.

A load that waits for answers sends least while a cache is off, which is just when its rate matters.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.http_requests import get

TICK = 0.005
"""Seconds between two groups of reads."""

BEHIND = 0.25
"""A load that is later than this many seconds does not catch up: then this process could not run."""

CONNECTIONS = 100
"""The most connections to each server. A read that finds none free counts as lost."""


@dataclass(slots=True)
class Second:
    """The reads that began in one second."""

    asked: int = 0
    tiers: int = 0
    """Answered from memory or Redis."""
    database: int = 0

    @property
    def hits(self) -> float:
        """The share of hits among all reads. Reads that were refused, lost or not answered are no hits."""
        return self.tiers / self.asked if self.asked else 0.0


class Reader:
    """Reads the users 1 to `users` evenly, from one server after the other."""

    def __init__(self, ports: Sequence[int], *, users: int, rate: float) -> None:
        self._idle: list[list[_Client]] = [[] for _ in ports]
        self._open = [0 for _ in ports]
        self._ports = ports
        self._rate = rate
        self._users = users
        self._requests = itertools.cycle([get(f"/v1/users/{n}") for n in range(1, users + 1)])
        self._began = time.monotonic()
        self._seconds: list[Second] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def since(self, moment: float, until: float) -> list[Second]:
        """The whole seconds between two moments of time.monotonic()."""
        first, last = int(moment - self._began) + 1, int(until - self._began)
        return self._seconds[first:last]

    async def run(self) -> None:
        """Runs until it is cancelled. Each user is read through each server."""
        due = self._began
        count = len(self._ports)
        for number in itertools.count():
            now = time.monotonic()
            due = max(due, now - BEHIND)
            if due > now:
                await asyncio.sleep(max(TICK, due - now))
            second = self._second(due)
            second.asked += 1
            request = next(self._requests)
            # Each round begins with the next server. Otherwise a user would always be read from the same one.
            server = (number + number // self._users) % count
            self._send(server, request, second)
            due += 1 / self._rate

    def _send(self, server: int, request: bytes, second: Second) -> None:
        if self._idle[server]:
            self._idle[server].pop().send(request, second)
        elif self._open[server] < CONNECTIONS:
            self._open[server] += 1
            task = asyncio.create_task(self._connect(server, request, second))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, server: int, request: bytes, second: Second) -> None:
        client = _Client(self._idle[server], lambda: self._lost(server))
        try:
            await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", self._ports[server])
        except OSError:
            self._lost(server)
        else:
            client.send(request, second)

    def _lost(self, server: int) -> None:
        self._open[server] -= 1

    def _second(self, moment: float) -> Second:
        index = int(moment - self._began)
        while len(self._seconds) <= index:
            self._seconds.append(Second())
        return self._seconds[index]


class _Client(asyncio.Protocol):
    def __init__(self, idle: "list[_Client]", lost: Any) -> None:
        self._idle = idle
        self._lost = lost
        self._received = b""
        self._second: Second | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        with contextlib.suppress(ValueError):
            self._idle.remove(self)
        self._lost()

    def send(self, request: bytes, second: Second) -> None:
        self._second = second
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0 or self._second is None:
            return
        at = self._received.find(b"content-length: ") + 16
        length = int(self._received[at : self._received.index(b"\r", at)])
        if len(self._received) < head + 4 + length:
            return
        if self._received[9:12] == b"200":
            fresh = b'"source":"database"' not in self._received
            self._second.tiers += fresh
            self._second.database += not fresh
        self._received, self._second = b"", None
        self._idle.append(self)


@contextlib.asynccontextmanager
async def reading(ports: Sequence[int], *, users: int, rate: float) -> AsyncIterator[Reader]:
    """Reads run while the block runs."""
    reader = Reader(ports, users=users, rate=rate)
    running = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        running.cancel()
        await asyncio.wait([running])
