"""Responses that are sent in one piece.

uvicorn writes the head and the body of a response separately, and uvloop gives each to the kernel at once. If a replica
is killed in between, the gateway has already passed the head on, and the read has failed for good. With one write, the
replica has sent all of the answer or nothing, and the gateway can use another replica. It also saves a system call.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class WholeResponses(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with everything that one turn of the event loop writes gathered into one write.

    If the lifespan's state has a `closing` event, it is set when the server begins to end. The server waits for all
    answers, so endless ones should then end.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(_Gathering(transport, self.loop))  # type: ignore[arg-type]  # duck-typed: see below

    def shutdown(self) -> None:
        closing: asyncio.Event | None = self.app_state.get("closing")
        if closing is not None:
            closing.set()
        super().shutdown()


class _Gathering:
    """A transport that writes at the end of the event loop's turn; the rest is the transport's own."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []
        # uvicorn calls this for every request, so it does not go through __getattr__.
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Close after what has been written is sent, as a transport does."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._written:
            written = b"".join(self._written)
            self._written.clear()
            # uvloop raises an error if the client has disconnected since.
            if not self._transport.is_closing():
                self._transport.write(written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
