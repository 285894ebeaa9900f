"""The light replicas of benchmarks/scale.py do what real replicas do, and its calculations are right."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest
from benchmarks.fleet.fleets import shares
from benchmarks.fleet.lines import through
from benchmarks.fleet.loads import Load, Order
from benchmarks.fleet.meters import Meters
from benchmarks.fleet.replicas import Light, light
from benchmarks.serving import KEY
from redis import Redis
from tests.support.servers import Servers
from tests.support.users_database import empty_users_database

from evenkeel.cache.redis_tier import RedisTier
from evenkeel.cache.relay import Relay
from evenkeel.cache.tracking import Tracking

pytestmark = pytest.mark.anyio

SCRIPT = "return redis.call('PING')"


@pytest.fixture
def environment(servers: Servers, cache_url: str) -> dict[str, str]:
    return {
        "USER_API_DATABASE_URL": empty_users_database(servers.postgres),
        "USER_API_CACHE_URL": cache_url,
        "USER_API_CACHE_KEYS": KEY,
    }


@contextlib.asynccontextmanager
async def two(environment: dict[str, str]) -> AsyncIterator[tuple[Light, Light]]:
    async with light(environment) as one, light(environment) as other:
        yield one, other


async def test_light_replica_is_the_whole_service(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one runs the library's own relay, tracking and tier, and forgets what the other one writes."""
    running: list[str] = []

    def noted(kind: type, method: str) -> None:
        original: Callable[..., object] = getattr(kind, method)

        def run(self: object, *arguments: object, **options: object) -> object:
            running.append(kind.__name__)
            return original(self, *arguments, **options)

        monkeypatch.setattr(kind, method, run)

    noted(Relay, "run")
    noted(Tracking, "run")
    noted(RedisTier, "store")
    async with two(environment) as (one, other):
        status, _ = await one.send("POST", "/v1/users", b'{"email": "ada@example.com", "name": "Ada"}')
        assert status == 201
        for replica, tier in ((one, b"database"), (other, b"redis"), (other, b"memory")):
            assert b'"source":"%s"' % tier in (await replica.send("GET", "/v1/users/1"))[1]
        await one.send("PATCH", "/v1/users/1", b'{"name": "Ada Lovelace"}')
        status, body = 0, b""
        for _ in range(100):
            status, body = await other.send("GET", "/v1/users/1")
            if b"Lovelace" in body:
                break
            await asyncio.sleep(0.02)
        assert (status, b"Lovelace" in body) == (200, True)
        assert (await other.send("GET", "/readyz"))[0] == 200
    assert sorted(set(running)) == ["RedisTier", "Relay", "Tracking"]
    assert running.count("Relay") == running.count("Tracking") == 2


async def test_meters_leave_out_what_they_cause(servers: Servers, cache_url: str) -> None:
    """Commands inside scripts count, and bytes are exact."""
    connection = await asyncpg.connect(servers.postgres)
    here = os.getpid()
    with Redis.from_url(cache_url, protocol=3) as redis:
        meters = Meters(redis, connection, "postgres", redis_process=here, postgres_process=here)
        redis.ping()  # connects
        first = await meters.reading(0, [])
        second = await meters.reading(0, [])
        redis.execute_command("EVAL", SCRIPT, 0)
        third = await meters.reading(0, [])
    await connection.close()
    nothing, script = second.minus(first), third.minus(second)
    assert (nothing.commands, nothing.bytes_in, nothing.bytes_out) == (0, 0, 0)
    assert script.commands == 2
    request = f"*3\r\n$4\r\nEVAL\r\n${len(SCRIPT)}\r\n{SCRIPT}\r\n$1\r\n0\r\n"
    assert (script.bytes_in, script.bytes_out) == (len(request), len("+PONG\r\n"))


def test_an_order_is_shared_out_by_the_number_of_replicas() -> None:
    parts = shares(Order("writes", count=10, rate=5, first=100), [64, 64, 32])
    assert [(part.first, part.count, part.rate) for part in parts] == [(100, 4, 2), (104, 4, 2), (108, 2, 1)]
    assert [part.count for part in shares(Order("hot", count=3, seconds=1), [2, 2])] == [3, 0]
    assert len(shares(Order("rest", seconds=1), [2, 2])) == 2


def test_the_line_through_fleets_calculates_larger_ones() -> None:
    line = through([(replicas, 7 + 3 * replicas) for replicas in (2, 10, 100)])
    assert line.at(1_000) == pytest.approx(3_007)
    assert through([(10, 5.0)]).at(500) == 5.0  # nothing is known about its slope


def test_load_notes_what_fails() -> None:
    class Broken:
        async def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
            return 503, f"{method} {path} {len(body)}".encode()

    report = asyncio.run(Load([Broken()]).run(Order("cold", count=1, rate=10, first=5)))
    assert report["failed"] == ["503: b'GET /v1/users/5 0'"]
