"""Responses that leave in one piece.

uvicorn writes the head and the body of a response separately, and uvloop hands each to the kernel at once. A replica
that is killed in between leaves the gateway with a head that it has already passed on, and a read that has failed for
good; with one write it has sent all of the answer or none, and the gateway asks another replica. It is also one system
call less.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class WholeResponses(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with everything that one turn of the event loop writes gathered into one write.

    If the lifespan's state has a `closing` event, it is set when the server begins to end: answers without an end of
    their own, which the server would wait for, can then bring themselves to one.
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
        # What uvicorn calls for every request, without a detour.
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
            # The client may have left since; uvloop raises then.
            if not self._transport.is_closing():
                self._transport.write(written)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
