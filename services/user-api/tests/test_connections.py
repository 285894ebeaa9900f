"""The tutorials' pool in the lifespan and connection per request: opened once, bounded, always given back."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support.ended_connection import end_by_postgres
from tests.support.proxy import proxied
from tests.support.serving import Serve
from tests.support.users import ADA, create

from stack.layout import free_port
from user_api.connections import Connections
from user_api.database import PROBE_CONNECTIONS, connections
from user_api.settings import Settings

pytestmark = pytest.mark.anyio

OPEN = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'user-api replica-a'"


async def in_use(client: httpx.AsyncClient) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("database_connections_in_use "))


async def all_closed(watcher: "asyncpg.Connection") -> None:
    for _ in range(100):
        if await watcher.fetchval(OPEN) == 0:
            break
        await asyncio.sleep(0.02)
    assert await watcher.fetchval(OPEN) == 0


async def test_pool_is_opened_once_in_the_lifespan_and_closed_at_shutdown(
    serve: Serve, database_url: str, make_settings: Callable[..., Settings]
) -> None:
    watcher = await asyncpg.connect(database_url)
    async with serve(database_pool_size=3) as client:
        for path in ("/v1/users?limit=1", "/readyz"):
            await asyncio.gather(*(client.get(path) for _ in range(60)))
        assert 3 + 1 <= await watcher.fetchval(OPEN) <= connections(make_settings(database_pool_size=3))
        pids = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'user-api replica-a'"
        before = await watcher.fetchval(pids)
        await asyncio.gather(*(client.get("/v1/users?limit=1") for _ in range(60)))
        # A probe that was given up, on a busy machine, ends its connection.
        assert len(set(before) - set(await watcher.fetchval(pids))) <= PROBE_CONNECTIONS
    await all_closed(watcher)
    await watcher.close()


async def test_a_stop_right_after_the_start_leaves_no_connection(serve: Serve, database_url: str) -> None:
    watcher = await asyncpg.connect(database_url)
    for milliseconds in range(0, 40, 2):  # so that some stop meets the first readiness check in mid-query
        async with serve():
            await asyncio.sleep(milliseconds / 1000)
    await all_closed(watcher)
    await watcher.close()


async def test_connection_is_given_back_when_the_handler_fails(serve: Serve) -> None:
    async with serve(database_pool_size=1) as client:
        await create(client)
        for _ in range(5):
            assert (await client.post("/v1/users", json=ADA)).status_code == 409
            assert (await client.delete("/v1/users/1", headers={"If-Match": '"9"'})).status_code == 412
        assert await in_use(client) == 0
        assert (await client.get("/v1/users")).status_code == 200


async def test_connection_is_given_back_when_the_client_disconnects(serve: Serve, database_url: str) -> None:
    blocker = await asyncpg.connect(database_url)
    async with serve(database_pool_size=2) as client:
        await create(client)
        async with blocker.transaction():
            await blocker.execute("SELECT FROM users FOR UPDATE")
            for _ in range(2):
                with pytest.raises(httpx.ReadTimeout):
                    await client.patch("/v1/users/1", json={"name": "B"}, timeout=0.3)
            assert await in_use(client) == 2
        for _ in range(200):
            if await in_use(client) == 0:
                break
            await asyncio.sleep(0.02)
        assert await in_use(client) == 0
        assert (await client.get("/v1/users")).status_code == 200
    await blocker.close()


async def test_busy_pool_answers_503_and_recovers(serve: Serve, database_url: str) -> None:
    blocker = await asyncpg.connect(database_url)
    async with serve(database_pool_size=1) as client:
        await create(client)
        async with blocker.transaction():
            await blocker.execute("SELECT FROM users FOR UPDATE")
            waiting = asyncio.create_task(client.patch("/v1/users/1", json={"name": "B"}))
            await asyncio.sleep(0.1)
            assert (await client.get("/readyz")).status_code == 200
            response = await client.get("/v1/users")
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
            assert response.json()["detail"] == "All database connections of this replica are busy."
        assert (await waiting).status_code == 200
        assert (await client.get("/v1/users")).status_code == 200
    await blocker.close()


async def test_connection_that_has_been_told_goodbye_and_is_still_open_is_replaced(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("user_api.connections.TRUSTED", 0)
    lent = Connections(make_settings(), size=1)
    async with lent.acquire() as connection:
        driver = connection.driver
    end_by_postgres(driver)
    async with lent.acquire() as connection:
        assert connection.driver is not driver
        assert tuple(await connection.fetchrow("SELECT $1::int", 1)) == (1,)
    await lent.close()


async def test_a_connection_whose_statement_was_cancelled_is_kept_if_it_still_works(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    """Opening another one takes longer than to test this one. The change log gives up looks that take too long."""
    async with proxied(database_url, free_port()) as proxy:
        await proxy.open()
        for keep, held in ((True, False), (True, True), (False, False)):
            lent = Connections(make_settings(database_url=proxy.url), size=2, keep_cancelled=keep)
            drivers: list[Any] = []

            async def sleep(lent: Connections = lent, drivers: list[Any] = drivers) -> None:
                async with lent.acquire() as connection:
                    drivers.append(connection.driver)
                    await connection.fetch("SELECT pg_sleep(30)", ())

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sleep(), 1)
            if held:  # PostgreSQL gets nothing any more, and sends nothing
                await proxy.cut()
                await proxy.open()
            async with lent.acquire() as connection:
                assert (connection.driver is drivers[0]) == (keep and not held)
                assert tuple(await connection.fetchrow("SELECT 1 AS one")) == (1,)
            await lent.close()


async def test_connections_that_are_given_back_after_the_end_are_closed(make_settings: Callable[..., Settings]) -> None:
    lent = Connections(make_settings(), size=1)
    async with lent.acquire() as connection:
        await lent.close()
    await lent.close()
    assert connection.driver.is_closed()


async def test_a_connection_that_says_nothing_at_its_end_is_cut_without_an_error(
    make_settings: Callable[..., Settings], database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Asyncpg raises TimeoutError then, and the pool logs whatever it is."""
    async with proxied(database_url, free_port()) as proxy:
        await proxy.open()
        lent = Connections(make_settings(database_url=proxy.url), size=1)
        async with lent.acquire() as connection:
            driver = connection.driver
        proxy.hold()
        await lent.close()
        assert driver.is_closed()
    assert [record.getMessage() for record in caplog.records] == []


async def test_no_more_are_open_than_the_size(make_settings: Callable[..., Settings]) -> None:
    """`connections` counts all that a replica can open."""
    lent = Connections(make_settings(replica_name="bounded"), size=3)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'user-api bounded'"
    seen = []

    async def work() -> None:
        async with lent.acquire() as connection:
            seen.append((await connection.fetchrow(count))["count"])

    await asyncio.gather(*(work() for _ in range(20)))
    await lent.close()
    assert max(seen) == 3
    assert lent.in_use == 0
