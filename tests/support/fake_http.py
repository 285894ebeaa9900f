"""HTTP servers whose answers a test chooses."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Answer:
    status: int
    document: Any = None
    headers: tuple[str, ...] = ()
    """Lines of the head."""


@contextlib.asynccontextmanager
async def answering(
    respond: Callable[[Request], Answer | None], *, hasty: bool = False, port: int = 0
) -> AsyncIterator[str]:
    """The URL of a server that sends these answers, or none, while the block runs. It uses a free port unless one is
    given.

    A `hasty` server takes a part of a body for the whole body.
    """
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
                method, path, _ = line.split()
                headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
                length = int(headers.get("content-length", "0"))
                try:
                    body = await reader.readexactly(length)
                except asyncio.IncompleteReadError as half:
                    if not hasty:
                        raise
                    body = half.partial
                answer = respond(Request(method, path, headers, body))
                if answer is None:
                    continue
                payload = b"" if answer.document is None else json.dumps(answer.document).encode()
                head = (f"HTTP/1.1 {answer.status} x", f"Content-Length: {len(payload)}", *answer.headers, "", "")
                writer.write("\r\n".join(head).encode() + payload)
        writers.discard(writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
        for writer in writers:
            writer.close()
