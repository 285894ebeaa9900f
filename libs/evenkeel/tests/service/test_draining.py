"""A replica that is told to end, seen from outside: a process of its own."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from stack.layout import free_port

pytestmark = pytest.mark.anyio

REPLICA = """
import contextlib, sys
from prometheus_client import CollectorRegistry
from evenkeel.service import server
from evenkeel.service.application import create_application
from evenkeel.service.readiness import Readiness
from evenkeel.service.settings import ServiceSettings

@contextlib.asynccontextmanager
async def lifespan(_):
    yield {"readiness": Readiness({})}

app = create_application(
    title="t", description="", version="1", lifespan=lifespan, replica="r", registry=CollectorRegistry()
)
server.serve(app, ServiceSettings(port=int(sys.argv[1]), drain=float(sys.argv[2])))
"""

FOR_EVER = 300.0


@asynccontextmanager
async def replica(drain: float) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    port = free_port()
    words = [sys.executable, "-c", REPLICA, str(port), str(drain)]
    process = await asyncio.create_subprocess_exec(*words, stderr=subprocess.DEVNULL)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            await _until(client, "/readyz", 200)
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_serves_on_and_says_that_it_is_not_ready() -> None:
    async with replica(FOR_EVER) as (process, client):
        process.send_signal(signal.SIGTERM)
        answer = await _until(client, "/readyz", 503)
        assert answer.json()["checks"] == {"draining": "about to end"}
        # On the connections that are open, and on new ones.
        async with httpx.AsyncClient(base_url=client.base_url, timeout=30) as another:
            for each in (client, another):
                answer = await each.get("/livez")
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert process.returncode is None


async def test_then_it_ends_by_itself() -> None:
    async with replica(0.5) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0


@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGTERM, signal.SIGTERM],
        pytest.param([signal.SIGTERM, signal.SIGINT], marks=pytest.mark.slow),
        pytest.param([signal.SIGINT], marks=pytest.mark.slow),
    ],
)
async def test_who_is_in_a_hurry_need_not_wait(signals: list[signal.Signals]) -> None:
    async with replica(FOR_EVER) as (process, client):
        for place, number in enumerate(signals):
            if place:
                await _until(client, "/readyz", 503)
            process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 60) == 0


async def _until(client: httpx.AsyncClient, path: str, status: int) -> httpx.Response:
    for _ in range(600):
        try:
            answer = await client.get(path)
        except httpx.TransportError:
            pass
        else:
            if answer.status_code == status:
                return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} never answered {status}")
