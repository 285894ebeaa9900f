"""The application under test behind a real uvicorn on a free port, in the test's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from evenkeel.service.server import KEEP_ALIVE
from evenkeel.service.whole_responses import WholeResponses

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
"""Starts a service with some settings changed, and gives a client for it."""


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running application, whose lifespan lasts as long as the block."""
    # A busy machine may leave a client without a turn for longer than uvicorn's five seconds.
    config = uvicorn.Config(
        app, port=0, http=WholeResponses, ws="none", lifespan="on", log_config=None, timeout_keep_alive=KEEP_ALIVE
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
        if task.done():
            await task
            raise RuntimeError("the application did not start")
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.stopping.set()
        await task


async def until_ready(client: httpx.AsyncClient) -> None:
    """Return when the replica answers that it is ready. The AssertionError after a minute says what it lacks."""
    missing = "it does not answer"
    for _ in range(600):
        with contextlib.suppress(httpx.TransportError):
            answer = await client.get("/readyz")
            if answer.status_code == 200:
                return
            missing = answer.text
        await asyncio.sleep(0.1)
    raise AssertionError(missing)


class _Server(uvicorn.Server):
    """Does not change the test process's signals, and does not sleep where uvicorn sleeps for tenths of a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 (uvicorn's signature)
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.005)
        await self.lifespan.shutdown()
