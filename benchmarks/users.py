"""Databases with a given number of users, and requests for these users."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import urlsplit

import asyncpg
import uvloop
from benchmarks.contestants import USER
from benchmarks.load import send_all
from benchmarks.serving import KEY, LIFETIME, Server
from prometheus_client import CollectorRegistry
from redis import Redis

from evenkeel.cache.entry import Entry
from evenkeel.cache.keyring import KeyRing
from evenkeel.cache.keys import Names
from evenkeel.cache.metrics import CacheMetrics, Metrics
from evenkeel.cache.sealing import Sealing
from user_api.migrate import migrate
from user_api.service import SHAPE
from user_api.settings import MigrationSettings

BATCH = 100
"""The most ids that the service takes in one request."""


def populate(postgres: str, name: str, users: int) -> str:
    """The URL of a new database with so many users, whose ids begin with 1."""
    url = urlsplit(postgres)._replace(path=f"/{name}").geturl()

    async def run() -> None:
        await _execute(postgres, f"CREATE DATABASE {name}")
        await migrate(MigrationSettings.model_validate({"database_url": url}))
        await _execute(
            url,
            "INSERT INTO users (email, name)"  # noqa: S608 (a number)
            f" SELECT 'user' || n || '@example.com', 'User ' || n FROM generate_series(1, {users}) AS n",
        )
        await _execute(url, "VACUUM ANALYZE users")

    asyncio.run(run())
    return url


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def fill_redis(url: str, users: int) -> None:
    """Put the users into Redis as the service does it. Through the service, a million would take minutes."""
    metrics = CacheMetrics(Metrics(CollectorRegistry()), "user")
    sealing = Sealing(KeyRing.from_text(KEY), metrics, SHAPE)
    with Redis.from_url(url) as redis:
        names = _names(redis)
        for batch in _batched(range(1, users + 1), 1000):
            pipeline = redis.pipeline(transaction=False)
            for n in batch:
                name = names.entry(str(n))
                pipeline.set(name, sealing.seal(name, Entry(1, payload(n)), LIFETIME), px=LIFETIME * 1000)
            pipeline.execute()


def _names(redis: Redis) -> Names:
    """The names that the service uses, after it has begun an epoch."""
    while True:
        for state in redis.scan_iter(match="evenkeel:{user}:*:state"):
            epoch = redis.hget(state, "epoch")
            if isinstance(epoch, bytes):
                return Names("user", state.split(b":")[-2].decode(), epoch.decode())
        time.sleep(0.1)


def payload(n: int) -> bytes:
    """The user in the form in which the service keeps it."""
    user = USER | {"id": n, "email": f"user{n}@example.com", "name": f"User {n}"}
    return json.dumps(user, separators=(",", ":")).encode()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def in_turn(users: int) -> Callable[[], Iterator[bytes]]:
    """Reads of the users 1, 2, 3 … one after the other, again and again."""
    requests = [get(f"/v1/users/{n}") for n in range(1, users + 1)]
    return lambda: itertools.cycle(requests)


def spread(ids: Sequence[int], *, length: int = 100_000) -> Callable[[], Iterator[bytes]]:
    """Reads of random users. The requests have as many bytes, however many users there are."""
    requests = [get(f"/v1/users/{n}") for n in random.Random(1).choices(ids, k=length)]
    starts = itertools.count(step=length // 7)

    def repeated() -> Iterator[bytes]:
        at = next(starts) % length  # each round begins with another user
        return itertools.cycle(requests[at:] + requests[:at])

    return repeated


def batches(users: int) -> Callable[[], Iterator[bytes]]:
    """Reads of a hundred users each."""
    requests = list(_batches(range(1, users + 1)))
    return lambda: itertools.cycle(requests)


def warm(servers: Iterable[Server], ids: Sequence[int]) -> None:
    """Let each server read these users once, so that its tiers have them."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(read_all((server.port for server in servers), ids))


async def read_all(ports: Iterable[int], ids: Sequence[int]) -> None:
    """One pass through the server at each port, one after the other."""
    for port in ports:
        measured = await send_all(port, _batches(ids), connections=8)
        if measured.failures:
            raise RuntimeError(f"{measured.failures} of {measured.requests} requests failed")


def _batches(ids: Iterable[int]) -> Iterator[bytes]:
    for batch in _batched(ids, BATCH):
        yield get("/v1/users?ids=" + ",".join(map(str, batch)))


def _batched(ids: Iterable[int], size: int) -> Iterator[list[int]]:
    ids = iter(ids)
    while batch := list(itertools.islice(ids, size)):
        yield batch
