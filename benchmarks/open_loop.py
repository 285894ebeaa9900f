"""Open-loop load: a request is sent when it is due, whether or not earlier ones have been answered.

A latency counts from the moment at which the request was due. So a server that stops for a second delays all requests
of that second, and each of them counts.
"""

import asyncio
import contextlib
import gc
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONNECTIONS = 64
"""The most connections to each port. A request that finds none free waits, and its latency goes on counting."""

LAST_ANSWERS = 5.0
"""Seconds that the last answers may take."""


@dataclass(frozen=True, slots=True)
class Request:
    kind: str
    service: str
    data: bytes


@dataclass
class Latencies:
    """Seconds, by kind of request."""

    by_kind: dict[str, list[float]] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    """How much later than due the load sent the requests."""
    failures: int = 0
    """Answers that are not 2xx, and requests without an answer."""

    def add(self, other: "Latencies") -> None:
        for kind, values in other.by_kind.items():
            self.by_kind.setdefault(kind, []).extend(values)
        self.late += other.late
        self.failures += other.failures

    @property
    def all(self) -> list[float]:
        return [value for values in self.by_kind.values() for value in values]


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Load:
    """Sends requests to the ports of each service in turn."""

    def __init__(self, ports: Mapping[str, Sequence[int]], requests: Iterator[Request]) -> None:
        self._requests = requests
        self._pools = {service: [_Pool(port, self) for port in each] for service, each in ports.items()}
        self._turns = dict.fromkeys(ports, 0)
        self._measured = Latencies()
        self._unanswered = 0
        self._complete = asyncio.Event()
        self._until: float | None = None
        """The end of the saturating load; None under a steady one."""

    async def saturate(self, seconds: float, *, outstanding: int) -> float:
        """Answers a second, with so many requests under way at any time."""
        self._measured = Latencies()
        self._until = time.perf_counter() + seconds
        for _ in range(outstanding):
            self._send(time.perf_counter())
        await asyncio.sleep(seconds)
        answered = len(self._measured.all)
        await self._all_answered()
        self._until = None
        return answered / seconds

    async def steady(self, rate: float, seconds: float) -> Latencies:
        """So many requests a second."""
        self._measured = Latencies()
        loop, count = asyncio.get_running_loop(), int(rate * seconds)
        began = time.perf_counter() + 0.01

        def pace() -> None:
            # In a thread, because the loop's timers are exact to a millisecond only.
            for number in range(count):
                due = began + number / rate
                if (pause := due - time.perf_counter()) > 0:
                    time.sleep(pause)
                loop.call_soon_threadsafe(self._send, due)

        gc.collect()
        gc.disable()  # a pause here would count as the server's
        try:
            await asyncio.to_thread(pace)
            await self._all_answered()
        finally:
            gc.enable()
        self._measured.failures += self._unanswered
        return self._measured

    async def _all_answered(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._complete.wait(), LAST_ANSWERS)

    def close(self) -> None:
        for pools in self._pools.values():
            for pool in pools:
                pool.close()

    def _send(self, due: float) -> None:
        request = next(self._requests)
        pools = self._pools[request.service]
        turn = self._turns[request.service]
        self._turns[request.service] = (turn + 1) % len(pools)
        self._unanswered += 1
        self._complete.clear()
        pools[turn].send(request, due)

    def sent(self, due: float) -> None:
        self._measured.late.append(time.perf_counter() - due)

    def answered(self, kind: str, due: float, *, good: bool) -> None:
        now = time.perf_counter()
        self._unanswered -= 1
        self._measured.by_kind.setdefault(kind, []).append(now - due)
        self._measured.failures += not good
        if self._until is not None and now < self._until:
            self._send(now)
        elif not self._unanswered:
            self._complete.set()


class _Pool:
    """The connections to one port."""

    def __init__(self, port: int, load: Load) -> None:
        self.load = load
        self._port = port
        self._open = 0
        self._idle: list[_Client] = []
        self._waiting: deque[tuple[Request, float]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clients: list[_Client] = []

    def send(self, request: Request, due: float) -> None:
        if self._idle:
            self._idle.pop().send(request, due)
            return
        self._waiting.append((request, due))
        if self._open < CONNECTIONS:
            self._open += 1
            task = asyncio.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def free(self, client: "_Client") -> None:
        if self._waiting:
            client.send(*self._waiting.popleft())
        else:
            self._idle.append(client)

    def lost(self, client: "_Client") -> None:
        self._open -= 1
        if client in self._idle:
            self._idle.remove(client)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    async def _connect(self) -> None:
        client = _Client(self)
        await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", self._port)
        self._clients.append(client)
        self.free(client)


class _Client(asyncio.Protocol):
    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._received = b""
        self._request: Request | None = None
        self._due = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._pool.lost(self)

    def send(self, request: Request, due: float) -> None:
        self._request, self._due = request, due
        self._pool.load.sent(due)
        self._transport.write(request.data)

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0 or self._request is None:
            return
        at = self._received.find(b"content-length: ") + 16
        length = int(self._received[at : self._received.index(b"\r", at)])
        if len(self._received) < head + 4 + length:
            return
        good, kind = self._received[9:10] == b"2", self._request.kind
        self._received, self._request = b"", None
        self._pool.load.answered(kind, self._due, good=good)
        self._pool.free(self)
