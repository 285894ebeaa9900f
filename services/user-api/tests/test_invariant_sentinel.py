"""Promise 1 of docs/coherence.md when Sentinel makes a replica the primary, and how user-api finds it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.support.cache_servers import WatchedCache, followed, follows, sidecar_of, watched_cache
from tests.support.counters_redis import PASSWORD
from tests.support.sentinel import USER, USER_PASSWORD
from tests.support.serving import Serve
from tests.support.witness import eventually, fleet, witnessing

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[WatchedCache]:
    async with watched_cache(tmp_path) as running:
        yield running


def settings(cache: WatchedCache) -> dict[str, Any]:
    return {"cache_url": cache.sentinel.url(PASSWORD), "cache_sentinel_password": cache.sentinel.password}


@pytest.mark.parametrize("how", ["kill", *(pytest.param(how, marks=pytest.mark.slow) for how in ("freeze", "by hand"))])
async def test_failover(serve: Serve, database_url: str, cache: WatchedCache, how: str) -> None:
    """Under reads, writes and SQL by hand; afterwards all tiers are in use again, on the new primary."""
    own = settings(cache)
    async with (
        fleet(serve, own, own, own | {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        by_hand, through, during, late = ids = await witness.create(4)
        await witness.warm(ids)
        async with witness.watching(ids):
            await witness.rename(by_hand)
            match how:
                case "kill":
                    await cache.primary.kill()
                case "freeze":
                    cache.primary.freeze()
                case _:
                    await cache.sentinel.fail_over()
            assert await witness.patch(replicas[0], through) == 200
            await witness.rename(during)
            await eventually(cache.failed_over)
            await witness.rename(late)
            assert await witness.patch(replicas[2], through) == 200
            # The old primary comes back, and becomes a replica of the new one.
            if how == "kill":
                await cache.primary.start()
            elif how == "freeze":
                cache.primary.thaw()
            await witness.rename(by_hand)
            await witness.verdict()

        async def served_by_the_primary() -> bool:
            await witness.settled(ids)
            # On a busy machine Sentinel may have failed over once more, back to the old primary.
            primary = cache.replica if await cache.failed_over() else cache.primary
            async with primary.client() as client:
                return await names(client) >= 4

        await eventually(served_by_the_primary)


@pytest.mark.slow
async def test_an_old_primary_that_sentinel_has_given_up_is_left(
    serve: Serve, database_url: str, cache: WatchedCache
) -> None:
    """It is frozen and thawed. Until Sentinel has demoted it, it answers as a primary that lacks changes."""
    own = settings(cache)
    async with fleet(serve, own, own) as replicas, witnessing(database_url, replicas) as witness:
        ids = await witness.create(3)
        await witness.warm(ids)
        async with witness.watching(ids):
            cache.primary.freeze()
            await eventually(cache.failed_over)
            await witness.rename(*ids)
            await witness.settled(ids)
            cache.sentinel.freeze()  # so that nobody demotes it
            cache.primary.thaw()
            await witness.rename(*ids)
            await witness.verdict()
            cache.sentinel.thaw()
            await witness.verdict()
        await witness.settled(ids)


@pytest.mark.slow
async def test_the_sentinels_credentials_are_their_own(
    serve: Serve, database_url: str, cache: WatchedCache, caplog: pytest.LogCaptureFixture
) -> None:
    as_user = settings(cache) | {"cache_sentinel_username": USER, "cache_sentinel_password": USER_PASSWORD}
    async with fleet(serve, as_user) as replicas, witnessing(database_url, replicas) as witness:
        ids = await witness.create(1)
        await witness.warm(ids)
    for wrong in ({"cache_sentinel_password": PASSWORD}, {"cache_sentinel_password": None}):
        caplog.clear()
        async with serve(**settings(cache) | wrong) as client:
            answer = await client.get(f"/v1/users/{ids[0]}")
            assert (answer.status_code, answer.json()["source"]) == (200, "database")
        said = [record.reason for record in caplog.records if hasattr(record, "reason")]
        where = f"no Sentinel leads to a primary of evenkeel: 127.0.0.1:{cache.sentinel.port}"
        assert any(one.startswith(f"{where}: it does not take the Sentinels' user and password") for one in said), said


@pytest.mark.slow
async def test_a_sidecar_follows_the_failover(
    serve: Serve, database_url: str, cache: WatchedCache, tmp_path: Path
) -> None:
    async with sidecar_of(f"127.0.0.1 {cache.primary.port}", tmp_path) as url:
        own = settings(cache) | {"cache_read_url": url}
        async with fleet(serve, own, own) as replicas, witnessing(database_url, replicas) as witness:
            by_hand, through = ids = await witness.create(2)
            await witness.warm(ids)
            assert await followed(url) == cache.primary.port
            async with witness.watching(ids):
                await cache.primary.kill()
                await witness.rename(by_hand)
                await eventually(cache.failed_over)
                assert await witness.patch(replicas[0], through) == 200
                await eventually(lambda: follows(url, cache.replica.port))
                await witness.rename(by_hand)
                await witness.verdict()
            await witness.settled(ids)


@pytest.mark.slow
@pytest.mark.parametrize("priority", [0, 100])
async def test_a_sidecar_that_starts_with_an_address_of_before(
    serve: Serve, cache: WatchedCache, tmp_path: Path, priority: int
) -> None:
    """Only one with `replica-priority 0` is ours to lead."""
    async with (
        sidecar_of("127.0.0.1 1", tmp_path, priority=priority) as url,
        serve(**settings(cache), cache_read_url=url) as client,
    ):
        assert (await client.get("/readyz")).status_code == 200
        if priority == 0:
            await eventually(lambda: follows(url, cache.primary.port))
        else:
            await asyncio.sleep(1.5)
            assert await followed(url) == 1


async def names(redis: Redis) -> int:
    """How many entries there are."""
    return len([name async for name in redis.scan_iter(match="*user*")])
