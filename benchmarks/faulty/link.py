"""The network between a replica and Redis: a TCP proxy that can be slow, lose everything, or lead elsewhere."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


class Link:
    def __init__(self, target: str) -> None:
        """`target` is the server's connection URL."""
        self.target = target
        self.delay = 0.0
        """Seconds until something that was sent arrives at the server."""
        self.loses = False
        """Whether everything that is sent to the server disappears. Connections stay open."""
        self.loses_answers = False
        """Whether everything that the server sends disappears."""
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """The target's URL, through this link."""
        parts = urlsplit(self.target)
        return parts._replace(netloc=f":{parts.password}@127.0.0.1:{self.port}").geturl()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Link"]:
        async with await asyncio.start_server(self._connected, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                server.close()
                self.reset()

    def reset(self) -> None:
        """Cut all connections, as a server does that is gone."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = urlsplit(self.target)
        try:
            there_reader, there_writer = await asyncio.open_connection(server.hostname, server.port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there_writer}
        self._writers |= both
        sent = asyncio.Queue[tuple[float, bytes]]()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take(reader, sent))
                group.create_task(_deliver(sent, there_writer))
                group.create_task(self._to_client(there_reader, writer))
        except* ConnectionError:
            pass
        finally:
            for each in both:
                each.transport.abort()
            self._writers -= both

    async def _take(self, reader: asyncio.StreamReader, sent: "asyncio.Queue[tuple[float, bytes]]") -> None:
        """Each piece is due `delay` after it was sent, also if others are under way. The last piece is empty."""
        while piece := await reader.read(65536):
            if not self.loses:
                sent.put_nowait((time.monotonic() + self.delay, piece))
        sent.put_nowait((time.monotonic() + self.delay, b""))

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            if not self.loses_answers:
                writer.write(piece)
                await writer.drain()
        writer.close()


async def _deliver(sent: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
    """In the order in which the pieces were sent, also if the delay becomes shorter meanwhile."""
    while True:
        due, piece = await sent.get()
        await asyncio.sleep(due - time.monotonic())
        if not piece:
            writer.close()
            return
        writer.write(piece)
        await writer.drain()
