"""The network between a replica and Redis: a TCP proxy that can be slow, lose everything, or lead elsewhere."""

import asyncio
import contextlib
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
            yield self
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
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._to_server(reader, there_writer))
                group.create_task(self._to_client(there_reader, writer))
        except* ConnectionError:
            pass
        finally:
            for each in both:
                each.transport.abort()
            self._writers -= both

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each piece arrives `delay` after it was sent, also if others are under way."""
        loop = asyncio.get_running_loop()
        while piece := await reader.read(65536):
            if not self.loses:
                loop.call_later(self.delay, _deliver, writer, piece)
        loop.call_later(self.delay, writer.close)

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            if not self.loses_answers:
                writer.write(piece)
                await writer.drain()
        writer.close()


def _deliver(writer: asyncio.StreamWriter, piece: bytes) -> None:
    if not writer.is_closing():  # the connection may have been reset meanwhile
        writer.write(piece)
