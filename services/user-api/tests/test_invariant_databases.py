"""Databases that share a Redis never meet, and one that takes another one's place finds nothing of it."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis
from tests.support.cache_names import all_cache_names
from tests.support.proxy import proxied
from tests.support.serving import Serve
from tests.support.witness import BOUND, Seen, Witness, fleet, witnessing

from stack.layout import free_port
from user_api.migrate import migrate
from user_api.settings import MigrationSettings

pytestmark = pytest.mark.anyio


async def administer(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(urlsplit(url)._replace(path="/postgres").geturl())
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def named(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@pytest.fixture
async def other_database_url(database_url: str) -> AsyncIterator[str]:
    """Another database with the current schema."""
    url = named(database_url, "other_users")
    await administer(database_url, "CREATE DATABASE other_users")
    await migrate(MigrationSettings(database_url=url))
    yield url
    await administer(database_url, "DROP DATABASE other_users WITH (FORCE)")


def only(witness: Witness, prefix: str) -> None:
    """Let the witness take every other name for a wrong answer."""
    judge = witness._judge

    def strictly(replica: str, user_id: int, seen: Seen, asked: float) -> None:
        if not (seen.name or prefix).startswith(prefix):
            witness.wrong.append(f"user {user_id} of another database: {seen}")
        judge(replica, user_id, seen, asked)

    witness._judge = strictly  # type: ignore[method-assign]


async def test_two_databases_on_one_redis(
    serve: Serve, database_url: str, other_database_url: str, cache_url: str
) -> None:
    """The same ids in both, and ids that only one of them has; what one forgets the other keeps."""
    there = {"database_url": other_database_url}
    async with (
        fleet(serve, {}, {"cache_tiers": "redis"}) as here_replicas,
        fleet(serve, there, there | {"cache_tiers": "redis"}) as there_replicas,
        witnessing(database_url, here_replicas) as here,
        witnessing(other_database_url, there_replicas) as far,
        Redis.from_url(cache_url) as redis,
    ):
        names_there = (f"other {number}" for number in itertools.count(1))
        far.new_name = lambda: next(names_there)  # type: ignore[method-assign]
        only(here, "name ")
        only(far, "other ")
        ids = await here.create(4)
        assert await far.create(2) == ids[:2]
        for user_id in ids[2:]:
            far.changed(user_id, None)
        async with here.watching(ids), far.watching(ids):
            await here.warm(ids)
            await far.warm(ids)
            await here.rename(*ids)
            await far.rename(*ids[:2])
            assert await far.patch(there_replicas[0], ids[0]) == 200
            await here.verdict()
            await far.verdict()
            before = {names.identity: names.epoch for names in await all_cache_names(redis)}
            assert len(before) == 2
            await here.sql.execute("TRUNCATE users")
            for user_id in ids:
                here.changed(user_id, None)
            await here.verdict()
            await far.verdict()
        await here.settled(ids)
        await far.settled(ids)
        after = {names.identity: names.epoch for names in await all_cache_names(redis)}
        assert sum(before[identity] == epoch for identity, epoch in after.items()) == 1


@pytest.mark.slow
async def test_another_database_behind_the_same_address(
    serve: Serve, database_url: str, other_database_url: str, cache_url: str
) -> None:
    """And the first one again: what was cached of it before is outdated."""
    mine, set_aside = (urlsplit(url).path[1:] for url in (database_url, other_database_url))

    async def swap(first: str, second: str) -> None:
        """Give each the other one's name, as if the address led to another cluster."""
        for old, new in ((first, "between"), (second, first), ("between", second)):
            await administer(
                database_url,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{old}'",  # noqa: S608 (a name of ours)
                f"ALTER DATABASE {old} RENAME TO {new}",
            )

    async with proxied(database_url, free_port()) as way:
        await way.open()
        own = {"database_url": way.url}
        async with (
            fleet(serve, own, own | {"cache_tiers": "redis"}) as replicas,
            witnessing(database_url, replicas) as witness,
            Redis.from_url(cache_url) as redis,
        ):
            sql = await asyncpg.connect(other_database_url)
            ids = await witness.create(3)
            await sql.execute("INSERT INTO users (email, name) VALUES ('x@example.com', 'another')")
            await witness.warm(ids)
            await sql.close()
            await witness.sql.close()
            async with witness.watching(ids):
                await way.cut()
                await swap(mine, set_aside)
                await way.open()
                for user_id in ids:
                    witness.changed(user_id, "another" if user_id == ids[0] else None)
                await witness.verdict()
            await witness.settled(ids)
            async with witness.watching(ids):
                await way.cut()
                await swap(mine, set_aside)
                # While no process follows it: the first database's rows change before the replicas are back.
                changing = await asyncpg.connect(database_url)
                await changing.execute("UPDATE users SET name = 'changed ' || id")
                await changing.close()
                await way.open()
                for user_id in ids:
                    witness.changed(user_id, f"changed {user_id}")
                await witness.verdict()
            await witness.settled(ids)
            assert len(await all_cache_names(redis)) == 1
            await asyncio.sleep(BOUND)
            assert not witness.wrong
