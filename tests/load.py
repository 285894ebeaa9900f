"""A keep-alive HTTP/1.1 connection that costs next to nothing, for tests that send thousands of requests.

httpx spends milliseconds of CPU on a request and more with every connection of its pool; the machine would measure it.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One request at a time; connects again where the server has closed."""

    def __init__(self, base_url: str) -> None:
        address = urlsplit(base_url)
        self._host, self._port = address.hostname, address.port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    async def request(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        """Raise OSError or EOFError (asyncio.IncompleteReadError) when the connection breaks."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        try:
            self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            reply = await self._reply()
        except BaseException:
            self._close()
            raise
        if reply.headers.get("connection") == "close":
            self._close()
        return reply

    async def _reply(self) -> Reply:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Reply(int(head[0].split(" ", 2)[1]), headers, body)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
