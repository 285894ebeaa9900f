"""Keep-alive HTTP/1.1 connections that cost very little, for programs that send thousands of requests.

httpx spends milliseconds of CPU on a request, and more with every connection of its pool. Results would show that.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

NO_ANSWER = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)
"""The errors of a request that gets no answer, or one that is not HTTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    version: str = "HTTP/1.1"

    @property
    def leaves_open(self) -> bool:
        """Whether the connection takes another request (RFC 9112, section 9.3)."""
        option = self.headers.get("connection", "").lower()
        return option == "keep-alive" if self.version == "HTTP/1.0" else option != "close"

    def json(self) -> Any:
        """Raises ValueError if the body is not JSON."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("the body is too deep") from error


@dataclass(frozen=True, slots=True)
class Server:
    host: str
    port: int
    authority: str
    """For the Host field, which has the port unless it is the scheme's own."""
    encrypted: bool

    @classmethod
    def at(cls, url: str) -> Self:
        address = urlsplit(url)
        encrypted = address.scheme == "https"
        authority = address.netloc.rpartition("@")[2]
        return cls(address.hostname or "", address.port or (443 if encrypted else 80), authority, encrypted)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError; if the server cannot be trusted, ssl.SSLCertVerificationError, which is one."""
        return await asyncio.open_connection(self.host, self.port, ssl=True if self.encrypted else None)


class Connection:
    """Sends one request at a time. It connects again if the server has closed the connection."""

    def __init__(self, base_url: str) -> None:
        self._server = Server.at(base_url)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        """Raise OSError or EOFError (asyncio.IncompleteReadError) when the connection breaks."""
        if self._writer is None or self._reader is None or self._reader.at_eof() or self._reader.exception():
            self.close()
            self._reader, self._writer = await self._server.connect()
        try:
            self._writer.write(_message(self._server.authority, method, path, headers or {}, body))
            reply = await self._reply(self._reader)
        except BaseException:
            self.close()
            raise
        if not reply.leaves_open:
            self.close()
        return reply

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    @staticmethod
    async def _reply(reader: asyncio.StreamReader) -> Reply:
        """The final one. Interim replies come before it (RFC 9110, section 15.2)."""
        while True:
            version, status, headers = await _head(reader)
            if not 100 <= status < 200:
                return Reply(status, headers, await _body(reader, status, headers), version)


async def _head(reader: asyncio.StreamReader) -> tuple[str, int, dict[str, str]]:
    """The version of HTTP, the status, and the fields. Raises ValueError if this is not HTTP."""
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    version, _, rest = line.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"this is not HTTP/1: {line[:80]!r}")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return version, int(rest[:3]), headers


async def _body(reader: asyncio.StreamReader, status: int, headers: dict[str, str]) -> bytes:
    """Its length as in RFC 9112, section 6.3."""
    if status in {204, 304}:
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read()  # until the server closes the connection


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A body whose length was not known when it began (RFC 9112, section 7.1)."""
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # fields after the body
    return body


async def cut_short(
    base_url: str, method: str, path: str, headers: dict[str, str], body: bytes, *, missing: int, after: float
) -> None:
    """Send a request without its last `missing` bytes, and hang up after so many seconds.

    Raises ConnectionRefusedError if no server listens, and another OSError if the server hangs up first.
    """
    server = Server.at(base_url)
    _, writer = await server.connect()
    try:
        message = _message(server.authority, method, path, headers, body)
        writer.write(message[: len(message) - missing])
        await asyncio.sleep(after)
    finally:
        writer.transport.abort()


def _message(host: str, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


Credentials = Callable[[], dict[str, str]]
"""Headers of every request."""


def bearer(token: str | None) -> Credentials:
    return lambda: {"authorization": f"Bearer {token}"} if token else {}


class Pool:
    """As many connections to one server as there are requests under way, of `timeout` seconds at most."""

    def __init__(self, base_url: str, *, timeout: float, credentials: Credentials = dict) -> None:
        self.credentials = credentials
        self._base_url = base_url
        self._timeout = timeout
        self._idle: list[Connection] = []
        self._closed = False

    async def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        """Like `Connection.request`; also raises TimeoutError, which is an OSError."""
        connection = self._idle.pop() if self._idle else Connection(self._base_url)
        async with asyncio.timeout(self._timeout):
            reply = await connection.request(method, path, (headers or {}) | self.credentials(), body)
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)
        return reply

    def close(self) -> None:
        """Close the idle connections. Those of requests under way are closed after these."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()
