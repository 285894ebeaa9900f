"""One GET over a fresh connection."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 2.0
"""Seconds for connection, request and answer together."""


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
async def _connected(port: int, unix_socket: Path | None) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    if unix_socket:
        reader, writer = await asyncio.open_unix_connection(unix_socket)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
