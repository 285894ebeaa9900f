"""Nobody waits long for a server that does not answer, be it PostgreSQL, frozen, locked or gone, or Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.support.child import Child
from tests.support.own_postgres import own_postgres
from tests.support.proxy import Proxy, proxied
from tests.support.replica import Replica
from tests.support.serving import Serve
from tests.support.users import create, read_until_cached
from tests.support.waits import Callers, calling, kinds

from evenkeel.cache.read_through import STAND_IN_AFTER
from stack.layout import free_port
from user_api.settings import Settings
from verify.connection import Connection

pytestmark = pytest.mark.anyio

LIMIT = 3.0
"""Seconds within which a replica answers, whatever PostgreSQL does."""

OUTAGE = 6.0
BLIP = 1.5
"""Seconds."""

EACH = 4
"""Callers of each kind: few, so that a busy machine still serves them all in time when nothing is broken."""

SHARE = 0.05
"""Of the answers may be later than they should: the machine's own stops, of which `Callers.busy` may miss some."""

CACHED, CHANGED = list(range(1, 21)), list(range(21, 31))


@dataclass
class World:
    replica: Replica
    postgres: Child
    way: Proxy
    sql: Any


@pytest.fixture(scope="module")
async def _server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Child, str]]:
    async with own_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
async def world(
    _server: tuple[Child, str], make_settings: Callable[..., Settings], tmp_path: Path
) -> AsyncIterator[World]:
    """A replica that has the cached users in memory."""
    postgres, url = _server
    async with AsyncExitStack() as stack:
        sql = await asyncpg.connect(url)
        stack.push_async_callback(sql.close)
        await sql.execute("TRUNCATE users RESTART IDENTITY")
        await sql.execute(
            "INSERT INTO users (email, name) SELECT n || '@example.com', 'User' FROM generate_series(1, 30) AS n"
        )
        way = await stack.enter_async_context(proxied(url, free_port()))
        await way.open()
        replica = await stack.enter_async_context(Replica(make_settings(database_url=way.url), tmp_path))
        await read_until_cached(replica.url, CACHED)
        yield World(replica, postgres, way, sql)


@asynccontextmanager
async def frozen(world: World) -> AsyncIterator[None]:
    world.postgres.freeze()
    try:
        yield
    finally:
        world.postgres.thaw()


@asynccontextmanager
async def locked(world: World) -> AsyncIterator[None]:
    async with world.sql.transaction():
        await world.sql.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def dropped(world: World) -> AsyncIterator[None]:
    """PostgreSQL's answers get lost. At the end the connections do, too, as when a firewall has forgotten them."""
    world.way.swallow("to client")
    yield
    world.way.reset()


@asynccontextmanager
async def held(world: World) -> AsyncIterator[None]:
    world.way.hold()
    yield
    world.way.release()


@asynccontextmanager
async def refused(world: World) -> AsyncIterator[None]:
    await world.way.cut()
    yield
    await world.way.open()


Outage = Callable[[World], contextlib.AbstractAsyncContextManager[None]]


async def outage_of(world: World, outage: Outage, seconds: float) -> tuple[Callers, float, float]:
    """What callers were answered, and when the outage began and ended (monotonic)."""
    loop = asyncio.get_running_loop()
    async with calling(world.replica.url, kinds(CACHED, CHANGED), each=EACH) as callers:
        for _ in range(100):  # until it is at work with all connections
            await asyncio.sleep(0.2)
            last = callers.waits[-8 * EACH :]
            if len(last) == 8 * EACH and all(wait.seconds < 0.3 for wait in last):
                break
        async with outage(world):
            began = loop.time()
            await asyncio.sleep(seconds)
        ended = loop.time()
        await asyncio.sleep(LIMIT + 1)
    return callers, began, ended


async def nothing_is_left(world: World) -> None:
    """Connections, places in the gate and tasks are given back."""
    async with Connection(world.replica.url) as connection:
        taken: list[float] = []
        for _ in range(600):
            lines = (await connection.request("GET", "/metrics")).body.decode().splitlines()
            taken = [
                float(line.split()[-1])
                for line in lines
                if line.startswith(("database_connections_in_use ", "cache_gate_waiting{"))
            ]
            if taken == [0.0, 0.0]:
                break
            await asyncio.sleep(0.05)
        assert taken == [0.0, 0.0]
        for n in (*CACHED, *CHANGED):
            reply = await connection.request("GET", f"/v1/users/{n}")
            assert (reply.status, "stale" in reply.headers["cache-status"]) == (200, False)


@pytest.mark.parametrize(
    "outage",
    [frozen, *(pytest.param(outage, marks=pytest.mark.slow) for outage in (locked, dropped, refused))],
    ids=lambda outage: outage.__name__,
)
async def test_outage(world: World, outage: Outage) -> None:
    callers, began, ended = await outage_of(world, outage, OUTAGE)
    late = callers.late(LIMIT)
    assert len(late) <= SHARE * len(callers.waits), late
    during = [wait for wait in callers.waits if began + 2 * STAND_IN_AFTER <= wait.asked < ended - LIMIT]
    cached = [wait for wait in during if wait.kind == "cached"]
    assert cached
    assert {wait.status for wait in cached} == {200}
    at_once = [wait for wait in cached if wait.seconds < STAND_IN_AFTER / 2 + 2 * callers.busy]
    assert len(at_once) >= (1 - 2 * SHARE) * len(cached), cached
    others = [wait for wait in during if wait.kind != "cached"]
    assert {(wait.status, wait.retry_after) for wait in others} == {(503, "1")}, others
    assert all("Nothing was changed" in wait.detail for wait in others if wait.kind in {"POST", "PATCH", "DELETE"})
    in_flight = [wait for wait in callers.waits if wait.asked < began + 0.3 and wait.asked + wait.seconds > began]
    assert any("is not known" in wait.detail for wait in in_flight) or outage is refused, in_flight
    await nothing_is_left(world)


@pytest.mark.parametrize(
    "outage",
    [pytest.param(outage, marks=pytest.mark.slow) for outage in (locked, frozen, held)],
    ids=lambda outage: outage.__name__,
)
async def test_blip(world: World, outage: Outage) -> None:
    """No request that has waited for the database to come back is refused."""
    callers, began, ended = await outage_of(world, outage, BLIP)

    waiting = [wait for wait in callers.waits if began <= wait.asked < ended]
    failed = [wait for wait in waiting if wait.status >= 500]
    if callers.busy < (2.5 - BLIP) / 2:  # else the machine was not back in time, whatever the database was
        assert len(failed) <= SHARE * len(waiting), failed
    await nothing_is_left(world)


@pytest.mark.slow
async def test_leases_are_not_taken_before_there_is_a_place_at_the_database(world: World) -> None:
    """Otherwise they end in the queue, and every key is queried twice."""
    keys = 60
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(Connection(world.replica.url)) for _ in range(keys)]
        async with locked(world):
            waiting = [
                asyncio.create_task(connection.request("GET", f"/v1/users/{1000 + n}"))
                for n, connection in enumerate(connections)
            ]
            await asyncio.sleep(4)
        replies = await asyncio.gather(*waiting)
        assert {reply.status for reply in replies} <= {404, 503}
        metrics = (await connections[0].request("GET", "/metrics")).body.decode()
    [loads] = [line for line in metrics.splitlines() if line.startswith("cache_loads_total{")]
    assert float(loads.split()[-1]) <= len(CACHED) + keys


async def test_frozen_redis(serve: Serve, cache_url: str) -> None:
    """The first readers wait half a second. No later reader has to find out whether it is back."""
    async with proxied(cache_url, free_port()) as way:
        await way.open()
        async with serve(cache_url=way.url, cache_tiers="redis") as client:
            for n in range(10):
                await create(client, email=f"u{n}@example.com")
            await read_until_cached(str(client.base_url), range(1, 11))
            way.hold()
            requests = {kind: kinds(list(range(1, 11)), [1])[kind] for kind in ("cached", "no-cache")}
            async with calling(str(client.base_url), requests, each=5, pause=0.02) as callers:
                await asyncio.sleep(6)
            assert {wait.status for wait in callers.waits} == {200}
            database = max(wait.seconds for wait in callers.waits if wait.kind == "no-cache")
            cached = [wait for wait in callers.waits if wait.kind == "cached"]
            slow = [wait for wait in cached if wait.seconds > 0.4 + database]
            assert len(slow) <= max(5, 0.02 * len(cached)), slow
            way.release()
            for _ in range(600):
                if (await client.get("/v1/users/1")).json()["source"] == "redis":
                    break
                await asyncio.sleep(0.05)
            assert (await client.get("/v1/users/1")).json()["source"] == "redis"
