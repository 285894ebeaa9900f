"""The tutorial's GET /counter: right in one process with either store, in several with Redis only."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from tests.support.serving import Serve

from stack.layout import free_port

pytestmark = pytest.mark.anyio

COUNTER_API = str(Path(sys.executable).with_name("counter-api"))


async def test_counter_counts_its_visits(client: httpx.AsyncClient) -> None:
    answers = [await client.get("/counter") for _ in range(3)]
    assert [answer.json() for answer in answers] == [{"current_count": n} for n in (1, 2, 3)]
    assert answers[0].headers["Cache-Control"] == "no-store"
    listing = await client.get("/v1/counters")
    assert listing.json() == {"data": []}


async def test_counter_is_exact_across_replicas(serve: Serve) -> None:
    async with serve() as one, serve(replica_name="replica-b") as two:
        answers = await asyncio.gather(*(client.get("/counter") for client in (one, two) for _ in range(50)))
        assert sorted(answer.json()["current_count"] for answer in answers) == list(range(1, 101))


@contextlib.contextmanager
def processes(count: int, environment: dict[str, str]) -> Iterator[Sequence[httpx.Client]]:
    """Real `counter-api serve` processes, and a client of each."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(count):
            port = str(free_port())
            own = {"COUNTER_API_PORT": port, "COUNTER_API_REPLICA_NAME": f"replica-{number}"}
            process = subprocess.Popen([COUNTER_API, "serve"], env={**os.environ, **environment, **own})
            stack.callback(process.wait)
            stack.callback(process.terminate)
            clients.append(stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}")))
        for client in clients:
            wait_until_ready(client)
        yield clients


def wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError("not ready")


def visits(clients: Sequence[httpx.Client]) -> list[int]:
    return [client.get("/counter").json()["current_count"] for _ in range(5) for client in clients]


@pytest.mark.slow
def test_global_variable_miscounts_in_two_processes() -> None:
    with processes(2, {"COUNTER_API_STORE": "memory"}) as clients:
        # Ten visits, and no process has counted more than five.
        assert visits(clients) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@pytest.mark.slow
def test_redis_counts_right_in_two_processes(counters_url: str) -> None:
    with processes(2, {"COUNTER_API_REDIS_URL": counters_url}) as clients:
        assert visits(clients) == list(range(1, 11))
    # The count survives the processes.
    with processes(1, {"COUNTER_API_REDIS_URL": counters_url}) as clients:
        assert visits(clients) == list(range(11, 16))
        assert clients[0].get("/stats").json() == {
            "total_requests": 16,
            "replicas": {"replica-0": 11, "replica-1": 5},
        }
