"""HEAD, over a real server."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp
from tests.support.serving import serving

from evenkeel.http.heads import HeadAsGet, is_head

pytestmark = pytest.mark.anyio


class Streams:
    """How many chunks were asked for, and how many streams have ended."""

    def __init__(self) -> None:
        self.chunks = 0
        self.ended = asyncio.Event()

    async def endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.chunks += 1
                yield b"x" * 1000
                await asyncio.sleep(0.001)
        finally:
            self.ended.set()


@pytest.fixture
def streams() -> Streams:
    return Streams()


class _App(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        return HeadAsGet(super().build_middleware_stack())


@pytest.fixture
async def client(streams: Streams) -> AsyncIterator[httpx.AsyncClient]:
    app, visits = _App(), iter(range(100))

    @app.get("/text")
    async def text() -> Response:
        return Response("text", 203, headers={"ETag": '"1"'})

    @app.get("/visits")
    async def count(request: Request) -> int:
        return -1 if is_head(request) else next(visits)

    @app.get("/stream")
    async def stream() -> Response:
        return StreamingResponse(streams.endless(), headers={"X-Stream": "endless"})

    @app.post("/only-post")
    async def only_post() -> None: ...

    async with serving(app) as client:
        yield client


async def test_answers_as_get_without_a_body(client: httpx.AsyncClient) -> None:
    for path in ("/text", "/nothing", "/only-post"):
        get, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        for headers in (get.headers, head.headers):
            headers.pop("date", None)
        assert head.headers == get.headers
        assert int(head.headers["Content-Length"]) == len(get.content)


async def test_connection_stays_usable(client: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
    writer.write(b"HEAD /text HTTP/1.1\r\nHost: x\r\n\r\nGET /text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answers = (await reader.read()).split(b"\r\n\r\n")
    writer.close()
    assert [answers[0][:12], answers[1][:12], answers[2]] == [b"HTTP/1.1 203", b"HTTP/1.1 203", b"text"]


async def test_a_route_can_tell(client: httpx.AsyncClient) -> None:
    assert (await client.get("/visits")).json() == 0
    assert (await client.head("/visits")).headers["Content-Length"] == "2"
    assert (await client.get("/visits")).json() == 1


async def test_streams_nothing(client: httpx.AsyncClient, streams: Streams) -> None:
    response = await client.head("/stream")
    assert (response.status_code, response.content, response.headers["X-Stream"]) == (200, b"", "endless")
    async with asyncio.timeout(30):
        await streams.ended.wait()
    assert streams.chunks < 100
    assert (await client.get("/visits")).status_code == 200
