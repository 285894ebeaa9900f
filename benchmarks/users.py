"""Databases with a given number of users, and requests for these users."""

import asyncio
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

import asyncpg
import uvloop
from benchmarks.contestants.floor import USER
from benchmarks.http_requests import get
from benchmarks.load import send_all
from benchmarks.releases import HERE, Release
from benchmarks.serving import KEY, LIFETIME, Server
from prometheus_client import CollectorRegistry
from redis import Redis

from evenkeel.cache.entry import Entry
from evenkeel.cache.keyring import KeyRing
from evenkeel.cache.keys import Names
from evenkeel.cache.metrics import CacheMetrics, Metrics
from evenkeel.cache.sealing import Sealing
from user_api.service import SHAPE

TEMPLATE_TABLE = "template_users"
"""The table of the contestants that use SQLAlchemy's ORM (benchmarks/contestants/users_table.py)."""

BATCH = 100
"""The most ids that the service takes in one request."""


def populate(postgres: str, name: str, users: int, release: Release = HERE) -> str:
    """The URL of a new database with so many users, whose ids begin with 1."""
    url = urlsplit(postgres)._replace(path=f"/{name}").geturl()
    asyncio.run(_execute(postgres, f"CREATE DATABASE {name}"))
    subprocess.run(
        [release.programs / "user-api", "migrate"],
        env={**os.environ, "USER_API_DATABASE_URL": url},
        check=True,
        capture_output=True,
    )
    asyncio.run(insert_users(url, "users", users))
    return url


def add_template_table(url: str, users: int) -> None:
    """The same columns, indexes and users for the template, without the triggers of user-api's table."""

    async def run() -> None:
        await _execute(url, f"CREATE TABLE {TEMPLATE_TABLE} (LIKE users INCLUDING ALL)")
        await insert_users(url, TEMPLATE_TABLE, users)

    asyncio.run(run())


async def insert_users(url: str, table: str, users: int) -> None:
    await _execute(
        url,
        f"INSERT INTO {table} (email, name)"  # noqa: S608 (names and a number of our own)
        f" SELECT 'user' || n || '@example.com', 'User ' || n FROM generate_series(1, {users}) AS n",
    )
    await _execute(url, f"VACUUM ANALYZE {table}")


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


def reads(ids: Iterable[int], path: str = "/v1/users", *, fields: str = "") -> list[bytes]:
    """A read of each of these users."""
    return [get(f"{path}/{n}", fields) for n in ids]


def batches(ids: Iterable[int]) -> Iterator[bytes]:
    """Reads of a hundred users each."""
    for batch in _batched(ids, BATCH):
        yield get("/v1/users?ids=" + ",".join(map(str, batch)))


def warm(servers: Iterable[Server], ids: Sequence[int]) -> None:
    """Let each server read these users once, so that its tiers have them."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(read_all((server.port for server in servers), ids))


async def read_all(ports: Iterable[int], ids: Sequence[int]) -> None:
    """One pass through the server at each port, one after the other."""
    for port in ports:
        measured = await send_all(port, batches(ids), connections=8)
        if measured.failures:
            raise RuntimeError(f"{measured.failures} of {measured.requests} requests failed")


def _batched(ids: Iterable[int], size: int) -> Iterator[list[int]]:
    ids = iter(ids)
    while batch := list(itertools.islice(ids, size)):
        yield batch
