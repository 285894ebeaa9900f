"""Whether a server answers: one question over a fresh connection, in asyncio streams."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 2.0
"""Seconds for connecting, asking and answering together."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


async def http_get(path: str, *, port: int = 0, unix_socket: Path | None = None) -> Answer | None:
    """GET from 127.0.0.1:port or a Unix socket; None without an answer."""
    try:
        async with asyncio.timeout(TIMEOUT), _connected(port, unix_socket) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
            chunked = b"transfer-encoding: chunked" in head.lower()
            return Answer(int(head.split(b" ", 2)[1]), _joined(body) if chunked else body)
    except (OSError, TimeoutError, ValueError, IndexError):
        return None


async def redis_pings(port: int, password: str) -> bool:
    """Whether the server has loaded its data and takes the password."""
    try:
        async with asyncio.timeout(TIMEOUT), _connected(port) as (reader, writer):
            writer.write(f"AUTH {password}\r\nPING\r\n".encode())
            return [await reader.readline() for _ in range(2)] == [b"+OK\r\n", b"+PONG\r\n"]
    except (OSError, TimeoutError):
        return False


async def redis_info(port: int, password: str, section: str) -> str:
    """What INFO says of the section; empty without an answer."""
    try:
        async with asyncio.timeout(TIMEOUT), _connected(port) as (reader, writer):
            writer.write(f"AUTH {password}\r\nINFO {section}\r\n".encode())
            await reader.readline()
            length = int((await reader.readline())[1:])  # of a string: $length, and the string
            return (await reader.readexactly(length)).decode()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return ""


async def redis_replicates(unix_socket: Path, password: str) -> bool:
    """Whether the server is a replica that has its primary's data and hears of every change to it."""
    try:
        async with asyncio.timeout(TIMEOUT), _connected(0, unix_socket) as (reader, writer):
            writer.write(f"AUTH {password}\r\nROLE\r\n".encode())
            # ROLE answers: slave, host and port of the primary, state of the link, offset.
            lines = [await reader.readline() for _ in range(9)]
            return lines[0] == b"+OK\r\n" and lines[-1] == b"connected\r\n"
    except (OSError, TimeoutError):
        return False


async def postgres_answers(port: int) -> bool:
    """Whether the server takes sessions: it asks for the password instead of reporting that it is starting up."""
    parameters = b"user\0postgres\0database\0postgres\0\0"
    try:
        async with asyncio.timeout(TIMEOUT), _connected(port) as (reader, writer):
            # StartupMessage of protocol 3.0; "R" begins the request to authenticate, "E" an error.
            writer.write(struct.pack("!ii", 8 + len(parameters), 3 << 16) + parameters)
            return await reader.readexactly(1) == b"R"
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def accepts_connections(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()
            return True
    except (OSError, TimeoutError):
        return False


def _joined(chunks: bytes) -> bytes:
    """The body without its chunked coding (RFC 9112, 7.1)."""
    body = b""
    while True:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body
        body += rest[:length]
        chunks = rest[length + 2 :]


@asynccontextmanager
async def _connected(
    port: int, unix_socket: Path | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    if unix_socket:
        reader, writer = await asyncio.open_unix_connection(unix_socket)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
