"""A proxy between a client and Redis. It loses replies, and keeps requests back to deliver them much later."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class LossyProxy:
    """A pipeline of up to 64 KiB travels in one piece, and so do its replies. So a piece is a round trip."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self.url = ""
        self.loses: Callable[[], bool] = lambda: False
        """Called for each piece of replies. If True, the piece is dropped and the connection cut, after Redis has
        executed it."""
        self.strands: Callable[[bytes], bool] = lambda _: False
        """Called for each piece of requests. If True, the piece is kept back and the client's connection cut."""
        self._stranded: list[tuple[asyncio.StreamWriter, bytes]] = []
        self.stranded = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["LossyProxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        credentials = f":{self._upstream.password}@" if self._upstream.password else ""
        self.url = f"redis://{credentials}127.0.0.1:{port}/0"
        async with server:
            yield self
        for writer in self._writers:
            writer.close()
        if self._connections:
            await asyncio.wait(self._connections)

    def lose_next(self, pieces: int = 1) -> None:
        left = iter(range(pieces))
        self.loses = lambda: next(left, None) is not None

    def strand_next(self, mark: bytes = b"EVALSHA") -> None:
        """Strand the next piece of requests that contains the mark."""
        self.stranded.clear()
        self.strands = lambda piece: mark in piece and not self.stranded.is_set()

    async def deliver_stranded(self) -> None:
        """Send Redis what was kept back, in the original order."""
        for writer, piece in self._stranded:
            writer.write(piece)
            await writer.drain()
            # Redis executes what a client sent before it closed the connection.
            writer.close()
        self._stranded.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        up_reader, up_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        self._writers |= {writer, up_writer}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._ask(reader, up_writer, writer), self._answer(up_reader, writer))

    async def _ask(
        self, reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(65536):
            if self.strands(piece):
                self._stranded.append((up_writer, piece))
                self.stranded.set()
                writer.close()
                return
            up_writer.write(piece)
        up_writer.close()

    async def _answer(self, up_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await up_reader.read(65536):
            if self.loses():
                break
            writer.write(piece)
        writer.close()
