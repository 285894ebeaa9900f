"""Statements of more rows than are logged one by one: what they changed is new in time, and all else stays cached."""

import asyncio

import pytest
from tests.support.cache_names import cache_names
from tests.support.proxy import Proxy
from tests.support.redis_pair import RedisPair
from tests.support.serving import Serve
from tests.support.witness import Witness, eventually, fleet, witnessing

from evenkeel.cache.change_log_schema import MOST_CHANGES

pytestmark = pytest.mark.anyio

MANY = MOST_CHANGES + 10_000

ATTEMPTS = 3
"""A machine that has too much to do may let trust end, which costs reads of PostgreSQL as well."""


async def insert_many(witness: Witness) -> list[int]:
    """The first, one in the middle, and the last of them."""
    name = witness.new_name()
    first = 1 + await witness.sql.fetchval("SELECT coalesce(max(id), 0) FROM users")
    await witness.sql.execute(
        "INSERT INTO users (email, name) SELECT i || $1, $2 FROM generate_series(1, $3::int) AS i",
        f"@{name.replace(' ', '.')}.example.com",
        name,
        MANY,
    )
    last = await witness.sql.fetchval("SELECT max(id) FROM users")
    few = [first, (first + last) // 2, last]
    for user_id in few:
        witness.changed(user_id, name)
    return few


async def update_many(witness: Witness, few: list[int]) -> None:
    name = witness.new_name()
    await witness.sql.execute("UPDATE users SET name = $1 WHERE id BETWEEN $2 AND $3", name, few[0], few[-1])
    for user_id in few:
        witness.changed(user_id, name)


async def delete_many(witness: Witness, few: list[int]) -> None:
    await witness.sql.execute("DELETE FROM users WHERE id BETWEEN $1 AND $2", few[0], few[-1])
    for user_id in few:
        witness.changed(user_id, None)


@pytest.mark.parametrize(
    "tiers", ["memory,redis", *(pytest.param(one, marks=pytest.mark.slow) for one in ("redis", "memory"))]
)
async def test_others_stay_cached(serve: Serve, database_url: str, tiers: str) -> None:
    """No read of them is answered by PostgreSQL."""
    own = {"cache_tiers": tiers}
    async with fleet(serve, own, own) as replicas, witnessing(database_url, replicas) as witness:
        outside = await witness.create(20)
        before = 0
        for _ in range(ATTEMPTS):
            await witness.warm(outside)
            before = witness.seen["database"]
            async with witness.watching(outside):
                few = await insert_many(witness)
                await witness.verdict()
                await update_many(witness, few)
                await witness.verdict()
            if witness.seen["database"] == before:
                break
        assert witness.seen["database"] == before


@pytest.mark.slow  # test_others_stay_cached also looks at what was changed
async def test_what_was_changed_is_new(serve: Serve, database_url: str, pair: RedisPair) -> None:
    """Through every replica, whatever its tiers are."""
    beside = {"cache_url": pair.primary.url, "cache_read_url": pair.replica.socket_url}
    own = {"cache_url": pair.primary.url}
    async with (
        fleet(serve, own, own | {"cache_tiers": "redis"}, {"cache_tiers": "memory"}, beside) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        outside = await witness.create(2)
        few = await insert_many(witness)
        for user_id in few:
            await witness.rename(user_id)
        await witness.warm([*outside, *few])
        async with witness.watching([*outside, *few]):
            await update_many(witness, few)
            await witness.rename(*outside)
            await witness.verdict()
            await update_many(witness, few)
            await witness.rename(*few)
            await witness.verdict()
            await witness.settled([*outside, *few])
            await delete_many(witness, few)
            await witness.verdict()
        await witness.settled([*outside, *few])


@pytest.mark.slow
async def test_promoted_replica_lacks_the_range(
    serve: Serve, database_url: str, pair: RedisPair, address: Proxy
) -> None:
    """It has the entries from before, and a state from before."""
    own = {"cache_url": address.url}
    async with (
        fleet(serve, own, own, own | {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        outside = await witness.create(2)
        few = await insert_many(witness)
        await witness.settled([*outside, *few])
        await eventually(pair.in_step)
        pair.link.hold()
        async with pair.primary.client() as primary:
            old = (await cache_names(primary)).epoch

            async def begun() -> bool:
                return (await cache_names(primary)).epoch != old

            async with witness.watching([*outside, *few]):
                await update_many(witness, few)
                await eventually(begun)
                await asyncio.sleep(0.2)
                await pair.primary.kill()
                await pair.fail_over(address)
                await witness.verdict()
        await witness.settled([*outside, *few])
