"""HTTP/2 frames (RFC 9113) made by hand, with literal header fields (RFC 7541, 6.2.2), for requests that no client
sends.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

DATA, HEADERS, SETTINGS, RST_STREAM = 0, 1, 4, 3

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_END_STREAM, _END_HEADERS = 1, 4


@dataclass(frozen=True)
class Frame:
    kind: int
    stream: int
    payload: bytes


def opening() -> bytes:
    """What a client sends first."""
    return _PREFACE + _frame(SETTINGS, 0, 0, b"")


def request(stream: int, fields: list[tuple[str, str]]) -> bytes:
    """A request without a body. The pseudo-header fields are among the fields."""
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)
    return _frame(HEADERS, _END_STREAM | _END_HEADERS, stream, block)


def get(stream: int, path: str, *, method: str = "GET", authority: str = "localhost") -> bytes:
    return request(stream, [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)])


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[Frame]:
    """Everything that the server sends until it closes."""
    while True:
        try:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        yield Frame(head[3], int.from_bytes(head[5:]) & 0x7FFFFFFF, payload)


async def body(reader: asyncio.StreamReader, stream: int = 1) -> bytes:
    """The body of a short answer: its first frame of data, or nothing if the server has reset the stream or closed."""
    async for frame in frames(reader):
        if frame.stream == stream and frame.kind in {DATA, RST_STREAM}:
            return frame.payload if frame.kind == DATA else b""
    return b""


def _text(text: str) -> bytes:
    data = text.encode()
    assert len(data) < 127  # longer ones need a length of several bytes
    return bytes([len(data)]) + data


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload
