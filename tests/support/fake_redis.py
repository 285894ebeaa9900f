"""A server with a small part of Redis' protocol: every command is an array of bulk strings."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

GREETING = {b"HELLO": b"%1\r\n+proto\r\n:3\r\n", b"CLIENT": b"+OK\r\n"}
"""Replies to what clients send first."""


@asynccontextmanager
async def fake_redis(reply: Callable[[list[bytes]], bytes]) -> AsyncIterator[int]:
    """The port of the server. `reply` gets each command and returns what is sent for it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that gives up may leave replies unread.
        with contextlib.suppress(ConnectionResetError):
            while header := await reader.readline():
                command = []
                for _ in range(int(header[1:])):
                    length = int((await reader.readline())[1:])
                    command.append(await reader.readexactly(length))
                    await reader.readline()
                writer.write(reply(command))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def sentinel_naming(port: Callable[[], int]) -> Callable[[list[bytes]], bytes]:
    """Replies of a Sentinel for which the primary is at that port of 127.0.0.1, now."""

    def reply(command: list[bytes]) -> bytes:
        if command[0].upper() == b"SENTINEL":
            named = str(port()).encode()
            return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%b\r\n" % (len(named), named)
        return GREETING.get(command[0].upper(), b"+OK\r\n")

    return reply
