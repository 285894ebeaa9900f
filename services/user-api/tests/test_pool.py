"""One round trip where one is enough, and no request fails when a connection or a schema changes under it."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support.ended_connection import end_by_postgres
from tests.support.proxy import Proxy, proxied
from tests.support.serving import Serve
from tests.support.users import ADA, create, etag
from tests.support.wire import named_statements, round_trips

from stack.layout import free_port
from user_api import connections as connections_module
from user_api.pool import Pool
from user_api.schemas import User
from user_api.settings import Settings
from user_api.statements import Statement

pytestmark = pytest.mark.anyio

NAMES = Statement("SELECT name FROM users WHERE id = $user_id")
FROM_DATABASE = {"Cache-Control": "no-cache"}


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Proxy]:
    async with proxied(database_url, free_port()) as proxy:
        await proxy.open()
        yield proxy


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def one(make_settings: Callable[..., Settings]) -> AsyncIterator[Pool]:
    """A pool of one connection."""
    pool = Pool(make_settings(), size=1)
    yield pool
    await pool.close()


async def driver_of(pool: Pool) -> Any:
    async with pool.transaction() as transaction:
        return transaction._driver


async def test_a_read_and_each_change_without_a_key_are_one_round_trip(
    serve: Serve, wire: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("user_api.connections.TRUSTED", 60)  # however slow the machine is
    monkeypatch.setattr("evenkeel.cache.pruning.INTERVAL", 60, raising=False)
    numbers = itertools.count(1)

    async def read(client: httpx.AsyncClient) -> int:
        return (await client.get("/v1/users/1")).status_code

    async def patch(client: httpx.AsyncClient) -> int:
        return (await client.patch("/v1/users/1", json={"name": f"N{next(numbers)}"})).status_code

    async def patch_if_match(client: httpx.AsyncClient) -> int:
        headers = {"If-Match": tags.pop()}
        changed = await client.patch("/v1/users/1", json={"email": f"n{next(numbers)}@example.com"}, headers=headers)
        tags.append(changed.headers["ETag"])
        return changed.status_code

    async def post(client: httpx.AsyncClient) -> int:
        return (
            await client.post("/v1/users", json={"email": f"p{next(numbers)}@example.com", "name": "P"})
        ).status_code

    async def delete(client: httpx.AsyncClient) -> int:
        return (await client.delete(f"/v1/users/{next(ids)}")).status_code

    async with serve(database_url=wire.url, cache_tiers="", database_pool_size=1) as client:
        await create(client)
        tags, ids = [], itertools.count(2)
        for act in (read, patch, post, post):  # which prepares the statements
            await act(client)
        tags.append(await etag(client))
        for act in (patch_if_match, delete):
            await act(client)
        for act, status in ((read, 200), (patch, 200), (post, 201), (delete, 204)):
            before = round_trips(wire)
            assert await act(client) == status
            assert round_trips(wire) - before == 1, act
    assert {text.split()[0] for text in named_statements(wire)} == {b"SELECT", b"INSERT", b"UPDATE", b"DELETE"}


async def test_connections_that_are_killed_between_two_requests_fail_none(
    serve: Serve, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not the replica has noticed. A write on such a connection could have an unknown outcome."""
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'user-api replica-a'"
    async with serve(cache_tiers="", database_pool_size=3) as client:
        await create(client)
        for trusted in (60, 0):  # never tested, always tested
            monkeypatch.setattr(connections_module, "TRUSTED", trusted)
            for number in range(5):
                await asyncio.gather(*(client.get("/v1/users/1") for _ in range(3)))
                assert await sql.fetchval(kill)
                answers = await asyncio.gather(*(client.get("/v1/users/1") for _ in range(6)))
                assert [answer.status_code for answer in answers] == [200] * 6
                assert await sql.fetchval(kill)
                await asyncio.sleep(0.05)
                assert (await client.patch("/v1/users/1", json={"name": f"N{number}"})).status_code == 200


async def test_the_schema_changes_under_load_and_no_request_fails(serve: Serve, sql: Any) -> None:
    """A prepared statement whose result has another type is refused, before it does anything."""
    statuses: Counter[int] = Counter()
    ended = asyncio.Event()

    async def work(client: httpx.AsyncClient) -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            statuses[(await client.get("/v1/users/1")).status_code] += 1
            statuses[(await client.patch("/v1/users/1", json={"name": f"N{number}"})).status_code] += 1

    async with serve(cache_tiers="") as client:
        await create(client)
        working = [asyncio.create_task(work(client)) for _ in range(4)]
        try:
            for kind in ("varchar(200)", "text", "varchar(200)", "text"):
                await asyncio.sleep(0.1)
                await sql.execute("ALTER TABLE users ADD extra int")
                await sql.execute(f"ALTER TABLE users ALTER name TYPE {kind}")
                await sql.execute("ALTER TABLE users DROP extra")
        finally:
            ended.set()
            await asyncio.gather(*working)
            await sql.execute("ALTER TABLE users ALTER name TYPE text")
        assert statuses.keys() == {200}


async def test_a_statement_that_is_forgotten_on_the_server_is_sent_again(one: Pool, sql: Any) -> None:
    await sql.execute("INSERT INTO users (email, name) VALUES ('a@example.com', 'A')")
    for _ in range(2):
        [row] = await one.fetch(NAMES, user_id=1)
        assert row["name"] == "A"
        await (await driver_of(one)).execute("DEALLOCATE ALL")


async def test_a_connection_that_was_announced_to_end_and_is_still_open_is_replaced(
    one: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "TRUSTED", 0)
    driver = await driver_of(one)
    end_by_postgres(driver)
    assert await one.fetch(NAMES, user_id=1) == []
    assert await driver_of(one) is not driver
    assert one.in_use == 0


async def test_postgresql_itself_has_the_time_limits(one: Pool) -> None:
    driver = await driver_of(one)
    assert await driver.fetchval("SHOW statement_timeout") == "5s"
    assert await driver.fetchval("SHOW idle_in_transaction_session_timeout") == "5s"


@pytest.mark.parametrize(
    "name", ['"quoted" \\ and / more', "Ada\u2028Łukasz 𝄞 é", "<&>'`", "\u007f\u0080\u009f\ufeff"], ids=repr
)
async def test_bodies_are_what_the_model_would_write(client: httpx.AsyncClient, sql: Any, name: str) -> None:
    """Byte by byte: entries of replicas of another release are compared and passed on as they are."""
    await sql.execute("INSERT INTO users (email, name, created_at) VALUES ($1, $2, '2026-01-01Z')", ADA["email"], name)
    body = (await client.get("/v1/users/1")).content
    user = User.model_construct(**dict(await sql.fetchrow("SELECT * FROM users")))
    written = user.model_dump_json(include=set(User.model_fields))
    assert body == b'{"source":"database","data":%b}' % written.encode()
