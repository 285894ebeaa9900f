"""Through PgBouncer in transaction mode: two server connections that all clients share, statement after statement."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from tests.support.pgbouncer import POOL_SIZE, PREPARED, PgBouncer, pgbouncer
from tests.support.proxy import Proxy, proxied
from tests.support.servers import Servers
from tests.support.serving import Serve
from tests.support.users import create, etag
from tests.support.wire import named_statements
from tests.support.witness import PATIENCE, eventually, fleet, relay_at_work, witnessing

from stack.layout import free_port
from user_api.connections import Connections
from user_api.database import STATEMENT_TIMEOUT
from user_api.health import check_schema
from user_api.migrate import migrate
from user_api.pool import Pool
from user_api.settings import MigrationSettings, Settings
from user_api.statements import Statement
from verify.connection import Connection

pytestmark = [pytest.mark.anyio, pytest.mark.pgbouncer]

MERGE_PATCH = {"content-type": "application/merge-patch+json"}
LIMITS = "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
NAME = "SELECT current_setting('application_name') AS name"


@pytest.fixture(scope="module")
async def pool(servers: Servers) -> AsyncIterator[PgBouncer]:
    async with pgbouncer(servers.postgres) as running:
        yield running


@pytest.fixture
def pooled_url(pool: PgBouncer, database_url: str) -> str:
    """The service's database through the pool."""
    return pool.url(database_url)


@pytest.fixture
def pooled(pooled_url: str, make_settings: Any) -> Settings:
    settings: Settings = make_settings(database_url=pooled_url)
    return settings


@asynccontextmanager
async def replicas(serve: Serve, url: str, **changes: Any) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two of them on one pool."""
    async with (
        serve(database_url=url, replica_name="replica-1", **changes) as one,
        serve(database_url=url, replica_name="replica-2", **changes) as two,
    ):
        yield [one, two]


async def test_every_transaction_has_its_limits_and_its_replica_s_name_and_leaves_neither(
    pooled: Settings, pooled_url: str, administrator: Any
) -> None:
    own = tuple(await administrator.fetchrow(LIMITS))
    assert f"{STATEMENT_TIMEOUT}s" not in own
    pools = [Pool(pooled.model_copy(update={"replica_name": name}), size=3) for name in ("one", "two")]

    async def ask(number: int) -> None:
        async with pools[number].transaction() as transaction:
            [limits] = await transaction.fetch(Statement(LIMITS))
            assert tuple(limits) == (f"{STATEMENT_TIMEOUT}s", f"{STATEMENT_TIMEOUT}s")
            [row] = await transaction.fetch(Statement(NAME))
            assert row["name"] == f"user-api {('one', 'two')[number]}"

    try:
        await asyncio.gather(*(ask(number % 2) for number in range(40)))
        stranger = await asyncpg.connect(pooled_url, statement_cache_size=0)
        for _ in range(2 * POOL_SIZE):
            assert tuple(await stranger.fetchrow(LIMITS)) == own
            assert await stranger.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
        await stranger.close()
    finally:
        for own_pool in pools:
            await own_pool.close()


async def test_what_the_service_does_with_users(serve: Serve, pooled_url: str) -> None:
    async with replicas(serve, pooled_url) as (one, two):
        assert (await one.get("/readyz")).json() == {"status": "ready"}
        ada = await create(one)
        assert (await two.post("/v1/users", json={"email": "ADA@example.com", "name": "A"})).status_code == 409
        assert (await two.get("/v1/users/1")).json()["data"] == ada
        first = {"If-Match": await etag(two)}
        patched = await two.patch("/v1/users/1", json={"name": "B"}, headers=first)
        assert (patched.status_code, patched.json()["version"]) == (200, 2)
        assert (await one.patch("/v1/users/1", json={"name": "C"}, headers=first)).status_code == 412
        own = await two.get("/v1/users/1")
        others = await one.get("/v1/users/1", headers={"Min-Version": "2"})
        assert own.json()["data"] == others.json()["data"] == patched.json()
        bob = await create(two, email="bob@example.com")
        assert (await one.get("/v1/users?limit=1&after=1")).json()["data"] == [bob]
        path = f"/v1/users/{bob['id']}"
        many = (await one.get(f"/v1/users?ids=1,{bob['id']},99")).json()
        assert many == {"data": [patched.json(), bob], "missing": [99]}
        assert (await one.delete(path)).status_code == 204
        await eventually(lambda: _answers(two, path, 404))


@pytest.mark.parametrize("prepared", PREPARED)
async def test_statements_have_names_where_the_pool_carries_them_and_no_request_fails(
    serve: Serve, servers: Servers, database_url: str, administrator: Any, prepared: int
) -> None:
    """Also while the schema changes: PgBouncer uses its own prepared statements again, outdated or not."""
    async with (
        pgbouncer(servers.postgres, prepared=prepared) as own_pool,
        proxied(own_pool.url(database_url), free_port()) as wire,
    ):
        await wire.open()
        # Refused names would be seen as well: the replica would have sent them.
        async with replicas(serve, wire.url, cache_tiers="") as both:
            await create(both[0])

            async def work(number: int) -> None:
                client = both[number % 2]
                for turn in range(4):
                    assert (await client.get("/v1/users/1")).status_code == 200
                    assert (await client.patch("/v1/users/1", json={"name": f"{turn}"})).status_code == 200

            for kind in ("varchar(200)", "text"):
                await asyncio.gather(*(work(number) for number in range(8)))
                await administrator.execute(f"ALTER TABLE users ALTER name TYPE {kind}")
            await asyncio.gather(*(work(number) for number in range(8)))
        names = {text for text in named_statements(wire) if b"pg_prepared_statements" not in text}
        assert bool(names) == bool(prepared)


async def _answers(client: httpx.AsyncClient, path: str, status: int) -> bool:
    return (await client.get(path)).status_code == status


@pytest.mark.slow
async def test_hundreds_of_requests_at_once_and_none_fails(serve: Serve, pooled_url: str) -> None:
    """Without a tier: each is a transaction on whichever server connection is free."""
    clients, users, rounds = 16, 4, 12
    async with replicas(serve, pooled_url, cache_tiers="", database_pool_size=8) as both:
        for number in range(users):
            await create(both[0], email=f"user-{number}@example.com")
        statuses: Counter[int] = Counter()

        async def work(number: int) -> None:
            user = f"/v1/users/{number % users + 1}"
            async with Connection(str(both[number % 2].base_url)) as connection:
                for turn in range(rounds):
                    name = b'{"name": "%d of %d"}' % (turn, number)
                    statuses[(await connection.request("PATCH", user, MERGE_PATCH, name)).status] += 1
                    statuses[(await connection.request("GET", user)).status] += 1
                    statuses[(await connection.request("GET", "/v1/users?limit=3")).status] += 1

        await asyncio.gather(*(work(number) for number in range(clients)))
        assert statuses == {200: clients * rounds * 3}
        versions = [user["version"] for user in (await both[0].get("/v1/users")).json()["data"]]
        assert versions == [1 + clients // users * rounds] * users


async def test_changes_by_hand_reach_every_replica_in_time(
    serve: Serve, database_url: str, pooled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    pooled = {"database_url": pooled_url}
    async with (
        fleet(serve, pooled, pooled, pooled | {"cache_tiers": "memory"}) as urls,
        witnessing(database_url, urls) as witness,
    ):
        ids = await witness.create(3)
        await relay_at_work(urls)
        await witness.warm(ids)
        async with witness.watching(ids):
            for _ in range(5):
                await witness.rename(*ids)
                for url in urls:
                    assert await witness.patch(url, ids[0]) == 200
            await witness.verdict()
        await witness.settled(ids)
        assert set(witness.seen) <= {"memory", "redis", "database"}
        # A busy machine may be late, but nothing is refused.
        failures = [record for record in caplog.records if record.message == "the change log is not relayed"]
        assert {getattr(record, "reason", None) for record in failures} <= {"TimeoutError"}


@pytest.mark.slow
async def test_pgbouncer_killed_and_started_again(
    serve: Serve, pool: PgBouncer, database_url: str, pooled_url: str
) -> None:
    """Meanwhile there may be answers marked as stale, and 503; never an old one as fresh, and nothing else."""
    pooled = {"database_url": pooled_url}
    async with fleet(serve, pooled, pooled) as urls, witnessing(database_url, urls) as witness:
        ids = await witness.create(3)
        await witness.warm(ids)
        statuses: Counter[int] = Counter()
        enough = asyncio.Event()

        async def write() -> None:
            for url in itertools.cycle(urls):
                if enough.is_set():  # and no write is left that could take effect later
                    return
                statuses[await witness.patch(url, ids[2])] += 1
                await asyncio.sleep(0.02)

        async with witness.watching(ids):
            writing = asyncio.create_task(write())
            for _ in range(2):
                await asyncio.sleep(0.5)
                await pool.kill()
                await witness.rename(*ids[:2])
                await asyncio.sleep(0.7)
                await pool.start()
            await asyncio.sleep(0.5)
            enough.set()
            await writing
            await witness.rename(*ids)
            await witness.verdict()
        await witness.settled(ids)
        assert statuses[200]
        assert statuses.keys() <= {200, 503}


@pytest.mark.slow
async def test_without_postgresql_behind_it_requests_get_503_until_it_is_back(
    serve: Serve, servers: Servers, database_url: str
) -> None:
    async with (
        proxied(servers.postgres, free_port()) as proxy,
        pgbouncer_before(proxy) as own_pool,
        replicas(serve, own_pool.url(database_url), cache_tiers="") as both,
    ):
        await create(both[0])
        await proxy.cut()
        for client in both * 3:
            assert (await client.get("/v1/users/1")).status_code == 503
            assert (await client.get("/readyz")).status_code == 503
        await proxy.open()
        for client in both:
            await eventually(lambda client=client: _answers(client, "/readyz", 200))  # type: ignore[misc]
            await eventually(lambda client=client: _answers(client, "/v1/users/1", 200))  # type: ignore[misc]


@asynccontextmanager
async def pgbouncer_before(proxy: Proxy) -> AsyncIterator[PgBouncer]:
    await proxy.open()
    async with pgbouncer(proxy.url) as running:
        yield running


async def test_a_statement_that_waits_too_long_is_given_up_and_its_server_freed(
    serve: Serve, database_url: str, pooled_url: str
) -> None:
    blocker = await asyncpg.connect(database_url)
    async with replicas(serve, pooled_url) as (one, two):
        await create(one)
        async with blocker.transaction():
            await blocker.execute("SELECT FROM users FOR UPDATE")
            # As many as there are server connections, so further clients must wait.
            waiting = [
                asyncio.create_task(client.patch("/v1/users/1", json={"name": "B"}, timeout=PATIENCE))
                for client in (one, two)
            ]
            assert [(await answer).status_code for answer in waiting] == [503, 503]
            assert (await one.get("/v1/users/1", headers={"Cache-Control": "no-cache"})).status_code == 200
        assert (await two.patch("/v1/users/1", json={"name": "C"})).status_code == 200
    await blocker.close()


@pytest.fixture
async def administrator(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def bare_url(pool: PgBouncer, database_url: str, administrator: Any) -> AsyncIterator[str]:
    """A database with nothing in it, through the pool."""
    await administrator.execute("CREATE DATABASE bare_behind_pool")
    yield pool.url(urlsplit(database_url)._replace(path="/bare_behind_pool").geturl())
    await administrator.execute("DROP DATABASE bare_behind_pool WITH (FORCE)")


async def test_migrations_by_several_jobs_at_once(bare_url: str, administrator: Any, make_settings: Any) -> None:
    settings = MigrationSettings(database_url=bare_url)
    await asyncio.gather(*(migrate(settings) for _ in range(4)))
    await migrate(settings)
    connections = Connections(make_settings(database_url=bare_url), size=1)
    await check_schema(connections)
    await connections.close()
    assert await administrator.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
