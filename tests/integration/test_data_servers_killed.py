"""PostgreSQL and the counters' Redis killed under load, on a stack of its own that starts them again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from tests.integration.conftest import Stack
from tests.support.outcomes import KEYLESS, failed, in_doubt, increments, possible, users
from tests.support.users import read_until_cached
from tests.support.waits import JSON, calling

from counter_api.settings import Settings as CounterSettings
from evenkeel.cache.database_breaker import PATIENCE, PAUSE
from evenkeel.cache.relay import INTERVAL
from verify.connection import Connection

pytestmark = pytest.mark.anyio

MARGIN = 0.1
"""Seconds by which clocks and the turns of event loops may differ."""


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With embedded servers, whatever the session uses."""
    stack = Stack(tmp_path_factory.mktemp("killed"))
    with stack.running(user_api=2, counter_api=2):
        yield stack


@pytest.mark.slow
async def test_only_keyless_changes_under_way_fail_when_a_data_server_is_killed(breakable: Stack) -> None:
    """About 100 requests a second. Every change is made once, and never twice."""
    servers = {process["service"]: process for process in breakable.status()["processes"]}
    gateway = breakable.gateway
    ids = [await new_user(gateway, n) for n in range(30)]
    await asyncio.sleep(3 * INTERVAL)  # the relay invalidates each of them once more
    cached, without_key, with_key = ids[:10], ids[10:20], ids[20:]
    await read_until_cached(gateway, cached)
    kinds = users(cached, without_key, with_key) | increments()
    async with calling(gateway, kinds, replica=servers["user-api"]["url"], each=2, pause=0.15) as callers:
        await asyncio.sleep(1)
        postgres = await killed(servers["postgres"], lambda: answers_postgres(servers["postgres"]["dsn"]))
        await asyncio.sleep(1)
        redis = await killed(servers["redis-counters"], lambda: answers_redis(servers["redis-counters"]["dsn"]))
        await asyncio.sleep(1)
        await callers.finish()

    for wait in failed(callers):
        counting = wait.kind in increments()
        gone, back = redis if counting else postgres
        patience = CounterSettings.model_fields["patience"].default if counting else PATIENCE
        assert (wait.status, wait.kind == "cached") == (503, False), wait
        if wait.kind in KEYLESS and in_doubt(wait):
            # It was sent before the server was gone, or before the replica could see that, and answered after.
            assert wait.asked <= gone + MARGIN + callers.busy, (wait, gone)
            assert wait.asked + wait.seconds >= gone - MARGIN, (wait, gone)
        else:
            # Where the machine took longer to start the server again: nobody is refused who has not waited that long.
            assert wait.seconds >= patience - MARGIN, wait
            assert wait.asked + patience < back + PAUSE + MARGIN + 2 * callers.busy, (wait, gone, back)

    sql = await asyncpg.connect(servers["postgres"]["dsn"])
    for kind, changed in (("change", without_key), ("change with key", with_key)):
        changes = await sql.fetchval("SELECT sum(version - 1) FROM users WHERE id = ANY($1)", changed)
        assert changes in possible(callers, kind)
    for kind, name in (("new", "keyless"), ("new with key", "keyed")):
        made = await sql.fetchval("SELECT count(*) FROM users WHERE email LIKE $1", f"{name}-%")
        assert made in possible(callers, kind)
    await sql.close()
    async with Connection(gateway) as connection:
        for kind, name in (("increment", "keyless"), ("increment with key", "keyed")):
            counter = (await connection.request("GET", f"/v1/counters/{name}")).json()
            assert counter["value"] in possible(callers, kind)


async def new_user(gateway: str, number: int) -> int:
    """The user's id."""
    async with Connection(gateway) as connection:
        body = f'{{"email": "{number}@example.com", "name": "User"}}'.encode()
        user_id: int = (await connection.request("POST", "/v1/users", JSON, body)).json()["id"]
    return user_id


async def killed(process: dict[str, Any], answers: Callable[[], Awaitable[bool]]) -> tuple[float, float]:
    """Send SIGKILL to it and its children. Returns when it was gone, and when its successor answered (monotonic)."""
    parent = psutil.Process(process["pid"])
    for one in (parent, *parent.children(recursive=True)):
        one.kill()
    gone = time.monotonic()
    async with asyncio.timeout(60):
        while not await answers():  # noqa: ASYNC110 (another process sets no event)
            await asyncio.sleep(0.02)
    return gone, time.monotonic()


async def answers_postgres(url: str) -> bool:
    try:
        await (await asyncpg.connect(url)).close()
    except (OSError, asyncpg.PostgresError):
        return False
    return True


async def answers_redis(url: str) -> bool:
    async with Redis.from_url(url) as client:
        try:
            return bool(await client.ping())
        except (OSError, RedisError):
            return False
