"""The tutorial's GET /counter: right in one process with either store, in several with Redis only; and GET /stats."""

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
from redis.asyncio import Redis
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
        # Ten visits, and nobody knows of more than five.
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


async def test_stats_count_every_answer(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/counter"),
        ("POST", "/v1/counters/a/increment"),
        ("GET", "/v1/counters/none"),
        ("GET", "/nowhere"),
        ("PATCH", "/counter"),
        ("POST", "/v1/counters/_/increment"),
    ):
        await client.request(method, path)
    await client.post("/v1/counters:batch", content=b"x" * 70_000)
    for path in ("/livez", "/readyz", "/metrics", "/docs", "/docs/assets/swagger-ui.css", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
    stats = await client.get("/stats")
    assert stats.json() == {"total_requests": 8, "replicas": {"replica-a": 8}}
    assert stats.headers["Cache-Control"] == "no-store"


async def test_stats_add_up_over_replicas(serve: Serve) -> None:
    async with serve() as one, serve(replica_name="replica-b") as two:
        await asyncio.gather(*(one.get("/v1/counters/a") for _ in range(60)), *(two.get("/counter") for _ in range(40)))
        assert (await two.get("/stats")).json() == {
            "total_requests": 101,
            "replicas": {"replica-a": 60, "replica-b": 41},
        }


async def test_a_request_is_counted_before_it_is_answered(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await client.get("/nowhere")
        # Redis holds writes back for a while: the answer has to wait for its count.
        await redis.client_pause(300, all=False)
        await client.get("/nowhere")
        assert await redis.hget("{_requests}", "replica-a") == b"2"


async def test_requests_that_come_together_are_counted_together(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await redis.config_resetstat()
        await asyncio.gather(*(client.get("/nowhere") for _ in range(100)))
        calls = (await redis.info("commandstats"))["cmdstat_hincrby"]["calls"]
        assert calls < 50
        assert await redis.hget("{_requests}", "replica-a") == b"100"


async def test_stats_forget_replicas_that_are_gone_and_keep_the_total(serve: Serve, counters_url: str) -> None:
    async with serve() as one, Redis.from_url(counters_url) as redis:
        await one.get("/counter")
        # An older release has left no trace but its requests; one has been gone for a day, another one for less.
        await redis.hset("{_requests}", mapping={"old": 2**53, "gone": 5, "away": 7})
        now = int((await redis.time())[0])
        await redis.zadd("{_requests}:seen", {"gone": now - 86_401, "away": now - 86_000})
        assert (await one.get("/stats")).json()["replicas"].keys() == {"old", "gone", "away", "replica-a"}
        async with serve(replica_name="replica-b") as two:
            while await redis.hexists("{_requests}", "gone"):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
            assert (await two.get("/stats")).json() == {
                "total_requests": 2**53 + 5 + 7 + 2 + 1,
                "replicas": {"old": 2**53, "away": 7, "replica-a": 2, "replica-b": 1},
            }
        # That begins now for those that nobody has seen; who comes back counts from the beginning.
        assert now <= int(await redis.zscore("{_requests}:seen", "old") or 0) <= now + 60
        async with serve(replica_name="gone") as back:
            stats = (await back.get("/stats")).json()
        assert (stats["replicas"]["gone"], stats["total_requests"]) == (1, 2**53 + 5 + 7 + 2 + 1 + 1)
