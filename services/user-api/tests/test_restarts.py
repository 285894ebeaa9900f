"""PostgreSQL goes away for a moment under load: what was not begun waits, and nothing is done twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from tests.support.child import Child
from tests.support.outcomes import KEYLESS, failed, in_doubt, possible, users
from tests.support.own_postgres import own_postgres
from tests.support.proxy import Proxy, proxied
from tests.support.replica import Replica
from tests.support.users import read_until_cached
from tests.support.waits import Callers, calling

from evenkeel.cache.database_breaker import PATIENCE, PAUSE
from stack.layout import free_port
from user_api.settings import Settings

pytestmark = pytest.mark.anyio

AWAY = 2.0
"""Seconds."""

LOSING = 0.15
"""Seconds of them in which PostgreSQL still works, and its answers are lost: long enough for each caller to ask."""

CACHED, WITHOUT_KEY, WITH_KEY = range(1, 11), range(11, 21), range(21, 31)

MARGIN = 0.1
"""Seconds by which clocks and the turns of two event loops may differ."""


@dataclass
class World:
    replica: Replica
    postgres: Child
    way: Proxy
    url: str


@pytest.fixture
async def world(make_settings: Callable[..., Settings], tmp_path: Path) -> AsyncIterator[World]:
    async with own_postgres(tmp_path) as (postgres, url), proxied(url, free_port()) as way:
        sql = await asyncpg.connect(url)
        await sql.execute(
            "INSERT INTO users (email, name) SELECT n || '@example.com', 'User' FROM generate_series(1, 30) AS n"
        )
        await sql.close()
        await way.open()
        async with Replica(make_settings(database_url=way.url), tmp_path) as replica:
            await read_until_cached(replica.url, CACHED)
            yield World(replica, postgres, way, url)


@asynccontextmanager
async def refused(world: World) -> AsyncIterator[None]:
    """All connections break, and new ones are refused. Changes are made just before, and their answers are lost."""
    world.way.swallow("to client")
    await asyncio.sleep(LOSING)
    await world.way.cut()
    yield
    await world.way.open()


@asynccontextmanager
async def killed(world: World) -> AsyncIterator[None]:
    """With SIGKILL. PostgreSQL then recovers, and refuses connections until it has."""
    await world.postgres.kill()
    yield
    await world.postgres.start()


Outage = Callable[[World], AbstractAsyncContextManager[None]]


@dataclass
class Seen:
    callers: Callers
    gone: float
    back: float
    """When a new connection worked. Both are times of `time.monotonic`."""


async def away(world: World, outage: Outage) -> Seen:
    async with calling(world.replica.url, users(CACHED, WITHOUT_KEY, WITH_KEY), each=2, pause=0.1) as callers:
        await asyncio.sleep(0.5)
        began = time.monotonic()
        async with outage(world):
            gone = time.monotonic()
            await asyncio.sleep(began + AWAY - gone)
        # What a replica has to do as well, on this machine.
        await (await asyncpg.connect(world.way.url)).close()
        back = time.monotonic()
        await asyncio.sleep(0.5)
        await callers.finish()
    return Seen(callers, gone, back)


@pytest.mark.parametrize(
    "outage", [refused, pytest.param(killed, marks=pytest.mark.slow)], ids=lambda outage: outage.__name__
)
async def test_no_request_fails_while_postgresql_is_away_for_two_seconds(world: World, outage: Outage) -> None:
    seen = await away(world, outage)
    failures = failed(seen.callers)
    # A change without a key that was with PostgreSQL when it went away is not repeated.
    lost = [wait for wait in failures if wait.kind in KEYLESS and in_doubt(wait)]
    assert all(wait.asked <= seen.gone + MARGIN + seen.callers.busy for wait in lost), lost
    assert lost or outage is killed
    assert {wait.status for wait in seen.callers.waits if wait.kind == "cached"} == {200}
    refusals = [wait for wait in failures if wait not in lost]
    # Whatever the machine does: nobody is refused who has not waited for PostgreSQL as long as is promised.
    assert all(wait.seconds >= PATIENCE - MARGIN for wait in refusals), refusals
    assert {(wait.status, wait.retry_after) for wait in failures} <= {(503, "1")}, failures
    # If PostgreSQL was back while they waited, and the machine was quick enough to see it, they are served.
    noticed = seen.back + PAUSE + MARGIN + 2 * seen.callers.busy
    assert all(wait.asked + PATIENCE < noticed for wait in refusals), (seen, refusals)

    sql = await asyncpg.connect(world.url)
    for kind, ids in (("change", WITHOUT_KEY), ("change with key", WITH_KEY)):
        changes = await sql.fetchval("SELECT sum(version - 1) FROM users WHERE id = ANY($1)", list(ids))
        assert changes in possible(seen.callers, kind)
    for kind, name in (("new", "keyless"), ("new with key", "keyed")):
        made = await sql.fetchval("SELECT count(*) FROM users WHERE email LIKE $1", f"{name}-%")
        assert made in possible(seen.callers, kind)
    await sql.close()
