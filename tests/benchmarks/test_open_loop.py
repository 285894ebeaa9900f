"""The load behind the figures of the slowest answers counts what a caller would have waited."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
from benchmarks.http_requests import get
from benchmarks.open_loop import Latencies, Load, Request, quantile

PAUSE = 0.4
RATE = 100


class _Server(asyncio.Protocol):
    """Answers at once, except that each answer waits for the end of `pause`."""

    def __init__(self, pause: asyncio.Event, status: bytes = b"200 OK") -> None:
        self._pause = pause
        self._status = status
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert data.endswith(b"\r\n\r\n")
        task = asyncio.create_task(self._answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self) -> None:
        await self._pause.wait()
        self._transport.write(b"HTTP/1.1 " + self._status + b"\r\ncontent-length: 2\r\n\r\n{}")


async def _loaded(protocol: Callable[[], asyncio.Protocol], pause: asyncio.Event, *, paused: float) -> Latencies:
    """A second of load on that server, which stands still for `paused` seconds in the middle."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0)
    load = Load(
        {"service": [server.sockets[0].getsockname()[1]]}, itertools.repeat(Request("read", "service", get("/")))
    )
    steady = asyncio.create_task(load.steady(RATE, 1))
    if paused:
        await asyncio.sleep(0.3)
        pause.clear()
        await asyncio.sleep(paused)
        pause.set()
    found = await steady
    load.close()
    server.close()
    return found


@pytest.mark.anyio
async def test_all_requests_that_were_due_in_a_pause_have_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.open_loop.CONNECTIONS", 4)  # most requests wait for one
    going = asyncio.Event()
    going.set()
    found = await _loaded(lambda: _Server(going), going, paused=PAUSE)
    assert len(found.all) == len(found.late) == RATE
    assert found.failures == 0
    # Those of the first half of the pause waited for its second half.
    assert sum(latency >= PAUSE / 2 for latency in found.all) >= PAUSE / 2 * RATE * 0.9
    assert quantile(found.all, 0.999) >= PAUSE * 0.9


@pytest.mark.anyio
async def test_requests_without_an_answer_and_refusals_have_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    going = asyncio.Event()
    monkeypatch.setattr("benchmarks.open_loop.LAST_ANSWERS", 0.1)
    assert (await _loaded(lambda: _Server(going), going, paused=0)).failures == RATE
    going.set()
    assert (await _loaded(lambda: _Server(going, b"503 No"), going, paused=0)).failures == RATE


def test_a_quantile_is_one_of_the_values() -> None:
    values = [n / 1000 for n in range(1000, 0, -1)]
    assert [quantile(values, share) for share in (0, 0.5, 0.999, 1)] == [0.001, 0.501, 1.0, 1.0]
