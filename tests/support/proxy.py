"""A TCP proxy with which a test can cut, hold up, or half-open connections, or allow them later."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Literal
from urllib.parse import urlsplit

Direction = Literal["to server", "to client"]


class Proxy:
    """Forwards 127.0.0.1:port to a server. It is closed at first, as if the server had not been started."""

    def __init__(self, target: str, port: int) -> None:
        """`target` is the server's connection URL."""
        self._target = urlsplit(target)
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, bytearray] = {}
        self._swallows: dict[Direction, bytes] = {}
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def url(self) -> str:
        """The target's URL, through this proxy."""
        credentials, at, _ = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{credentials}{at}127.0.0.1:{self._port}").geturl()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self._port)

    async def cut(self) -> None:
        """Refuse new connections and reset existing ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self, *, mark: bytes = b"") -> None:
        """Reset existing connections, with a mark only those whose client has sent it. Ends swallowing."""
        for writer, sent in list(self._writers.items()):
            if mark in sent:
                writer.transport.abort()
                del self._writers[writer]
        self._swallows.clear()

    def switch(self, target: str) -> None:
        """Forward new connections to another server. Existing ones stay."""
        self._target = urlsplit(target)

    def swallow(self, direction: Direction, *, mark: bytes = b"") -> None:
        """Accept everything in this direction and drop it. Connections stay open, as if the other end were still there.

        With a mark, only on connections whose client has sent it, in one piece.
        """
        self._swallows[direction] = mark

    def sent(self) -> list[bytearray]:
        """The beginning of what each client has sent, also on connections that have ended."""
        return list(self._writers.values())

    def hold(self) -> None:
        """Hold everything back in both directions until `release`."""
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        sent = bytearray()
        self._writers |= {writer: sent, there_writer: sent}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(
                self._copy(reader, there_writer, "to server", sent), self._copy(there_reader, writer, "to client", sent)
            )

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction, sent: bytearray
    ) -> None:
        """`sent` collects the beginning of what the client sends, in which a mark is looked for."""
        try:
            while data := await reader.read(65536):
                if direction == "to server" and len(sent) < 65536:
                    sent += data
                await self._flowing.wait()
                mark = self._swallows.get(direction)
                if mark is None or mark not in sent:
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def proxied(target: str, port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(target, port)
    try:
        yield proxy
    finally:
        proxy.release()
        await proxy.cut()
