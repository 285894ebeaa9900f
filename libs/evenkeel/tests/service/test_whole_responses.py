import asyncio
import socket
import struct
from typing import Any

import pytest
import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.responses import JSONResponse, Response, StreamingResponse
from tests.support.serving import serving

from evenkeel.service.whole_responses import WholeResponses

pytestmark = pytest.mark.anyio


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[Any] = []

    def write(self, data: Any) -> None:
        self.log.append(bytes(data))

    def close(self) -> None:
        self.log.append("close")

    def is_closing(self) -> bool:
        return "close" in self.log

    def set_protocol(self, _: Any) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


async def app(scope: Any, receive: Any, send: Any) -> None:
    await Response(b"body", headers={"Connection": "close"} if scope["path"] == "/close" else {})(scope, receive, send)


@pytest.mark.parametrize("path", ["/", "/close"])
async def test_head_and_body_leave_in_one_write(path: str) -> None:
    config = uvicorn.Config(app, http=WholeResponses, log_config=None)
    config.load()
    transport = Transport()
    protocol = WholeResponses(config, uvicorn.server.ServerState(), {}, asyncio.get_running_loop())
    protocol.connection_made(transport)
    protocol.data_received(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for _ in range(5):
        await asyncio.sleep(0)
    assert transport.log[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert transport.log[0].endswith(b"\r\n\r\nbody")
    assert transport.log[1:] == (["close"] if path == "/close" else [])
    protocol.connection_lost(None)


async def test_clients_that_pipeline_and_leave_raise_nothing() -> None:
    """On the event loop that serves: asyncio's own says nothing about writes into what is closed."""
    raised = await asyncio.to_thread(uvloop.run, _pipelined_and_left())
    assert raised == []


async def _pipelined_and_left() -> list[Any]:
    raised: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    application = FastAPI()

    @application.get("/")
    async def answer() -> Response:
        return Response(b"body")

    async with serving(application) as client:
        for requests in range(2, 102):
            left = socket.create_connection(("127.0.0.1", client.base_url.port))
            left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # with a reset
            left.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * requests)
            await asyncio.sleep(requests % 4 / 1000)
            left.close()
        assert (await client.get("/")).text == "body"
    return raised


async def test_streams_and_large_bodies_arrive_complete() -> None:
    app = FastAPI()

    @app.get("/stream")
    async def stream() -> Response:
        async def chunks() -> Any:
            for n in range(100):
                yield f"{n}\n".encode() * 1000
                if n % 10 == 0:
                    await asyncio.sleep(0.001)

        return StreamingResponse(chunks())

    @app.get("/large")
    async def large() -> Response:
        return JSONResponse("x" * 5_000_000)

    async with serving(app) as client:
        stream_body = (await client.get("/stream")).text
        assert stream_body == "".join(f"{n}\n" * 1000 for n in range(100))
        responses = await asyncio.gather(*(client.get("/large") for _ in range(5)))
        assert {len(response.content) for response in responses} == {5_000_002}


async def test_who_has_no_end_of_its_own_is_told_when_the_server_ends() -> None:
    closing = asyncio.Event()
    config = uvicorn.Config(app, http=WholeResponses, log_config=None)
    config.load()
    for state in ({"closing": closing}, {}):
        protocol = WholeResponses(config, uvicorn.server.ServerState(), state, asyncio.get_running_loop())
        transport = Transport()
        protocol.connection_made(transport)
        assert not transport.log
        protocol.shutdown()
        assert transport.log == ["close"]
        protocol.connection_lost(None)
    assert closing.is_set()
