"""Closed-loop load over keep-alive connections. One core of it can keep a server on another core busy."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    requests: int
    seconds: float
    failures: int

    @property
    def rate(self) -> float:
        """Answered requests a second."""
        return self.requests / self.seconds


async def drive(
    port: int, requests: Iterator[bytes], *, connections: int, seconds: float, expected: bytes = b""
) -> Measurement:
    """Send the requests to 127.0.0.1:port for this time, one at a time on each connection.

    An answer fails if its status is not 2xx, or if it does not contain `expected`.
    """
    clients = await _connect(port, requests, connections, expected)
    began = time.perf_counter()
    for client in clients:
        client.send()
    await asyncio.sleep(seconds)
    for client in clients:
        client.stopped = True
    elapsed = time.perf_counter() - began
    measurement = Measurement(sum(c.answered for c in clients), elapsed, sum(c.failed for c in clients))
    for client in clients:
        client.close()
    return measurement


async def send_all(port: int, requests: Iterable[bytes], *, connections: int) -> Measurement:
    """Send each of the requests once."""
    clients = await _connect(port, iter(requests), connections, b"")
    began = time.perf_counter()
    for client in clients:
        client.send()
    await asyncio.gather(*(client.ended for client in clients))
    elapsed = time.perf_counter() - began
    for client in clients:
        client.close()
    return Measurement(sum(c.answered for c in clients), elapsed, sum(c.failed for c in clients))


async def _connect(port: int, requests: Iterator[bytes], connections: int, expected: bytes) -> "list[_Client]":
    loop = asyncio.get_running_loop()
    clients = [_Client(requests, expected) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    return clients


class _Client(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], expected: bytes) -> None:
        self._requests = requests
        self._expected = expected
        self._received = b""
        self.answered = 0
        self.failed = 0
        self.stopped = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("the server closed the connection"))
            self.ended.exception()  # `drive` ignores it

    def send(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._received.find(b"content-length: ") + 16
        length = int(self._received[at : self._received.index(b"\r", at)])
        if len(self._received) < head + 4 + length:
            return
        if not self.stopped:
            self.answered += 1
            self.failed += self._received[9:10] != b"2" or self._expected not in self._received
            self._received = b""
            self.send()
