"""Forgetting everything: old entries end at once in all tiers, and other caches lose nothing."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from tests.support.cache_names import cache_names
from tests.support.proxy import Proxy
from tests.support.redis_pair import RedisPair, redis_server
from tests.support.serving import Serve, serving
from tests.support.witness import BOUND, Witness, eventually, fleet, witnessing

from counter_api.main import create_app as create_counter_api
from counter_api.settings import Settings as CounterSettings
from stack.layout import free_port
from verify.connection import Connection

pytestmark = pytest.mark.anyio

COMMAND = str(Path(sys.executable).with_name("user-api"))


async def truncate(witness: Witness, ids: list[int]) -> None:
    await witness.sql.execute("TRUNCATE users")
    for user_id in ids:
        witness.changed(user_id, None)


async def epoch_of(redis: Redis) -> str:
    return (await cache_names(redis)).epoch


async def test_counters_in_the_same_database_of_redis_stay(serve: Serve, database_url: str, counters_url: str) -> None:
    counter_api = create_counter_api(CounterSettings(redis_url=counters_url, replica_name="counters"))
    own = {"cache_url": counters_url}
    async with (
        serving(counter_api) as counters,
        fleet(serve, own, own) as replicas,
        witnessing(database_url, replicas) as witness,
        Redis.from_url(counters_url) as redis,
    ):
        for number in range(1, 21):
            await counters.post(f"/v1/counters/c{number}/increment", json={"by": number})
        ids = await witness.create(5)
        await witness.warm(ids)
        others = {name for name in await redis.keys() if b"{user}" not in name}
        before = await cache_names(redis)
        async with witness.watching(ids):
            await truncate(witness, ids)
            await witness.verdict()
        await witness.settled(ids)

        async def swept() -> bool:
            names = await cache_names(redis)
            held = await cast("Awaitable[Any]", redis.hmget(names.state, "swept", "epoch"))
            return names.epoch != before.epoch and held[0] == held[1]

        await eventually(swept)
        assert await redis.exists(*(before.entry(str(user_id)) for user_id in ids)) == 0
        assert others <= set(await redis.keys())
        for number in range(1, 21):
            assert (await counters.get(f"/v1/counters/c{number}")).json()["value"] == number


@pytest.mark.slow
async def test_by_hand(serve: Serve, database_url: str, cache_url: str, cache_key: str) -> None:
    """After a change that the log does not have."""
    environment = {
        "USER_API_DATABASE_URL": database_url,
        "USER_API_CACHE_URL": cache_url,
        "USER_API_CACHE_KEYS": cache_key,
    }

    def forget(**changes: str) -> "subprocess.CompletedProcess[str]":
        own = environment | changes
        command = [COMMAND, "forget-cache"]
        return subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=60)

    ended = await asyncio.to_thread(forget)
    assert (ended.returncode, ended.stdout) == (0, "there was no cache to forget\n")
    async with (
        fleet(serve, {}, {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
        Redis.from_url(cache_url) as redis,
    ):
        ids = await witness.create(3)
        await witness.warm(ids)
        before = await epoch_of(redis)
        async with witness.sql.transaction():
            await witness.rename(*ids)
            await witness.sql.execute("DELETE FROM user_changes")
        await asyncio.sleep(0.5)
        for replica in replicas:  # else there would be nothing to forget
            async with Connection(replica) as connection:
                assert (await witness.ask(replica, connection, ids[0])).name != witness.name(ids[0])
        ended = await asyncio.to_thread(forget)
        assert (ended.returncode, ended.stdout) == (0, "the cache is forgotten\n")
        witness.wrong.clear()  # two seconds are promised for what the log has
        await witness.settled(ids)
        assert await epoch_of(redis) != before
    ended = await asyncio.to_thread(lambda: forget(USER_API_CACHE_URL=f"redis://127.0.0.1:{free_port()}/0"))
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    ended = await asyncio.to_thread(lambda: forget(USER_API_CACHE_TIERS="memory"))
    assert ended.returncode == 1
    assert "names no redis" in ended.stderr


async def test_promoted_replica_lacks_the_new_epoch(
    serve: Serve, database_url: str, pair: RedisPair, address: Proxy
) -> None:
    """It has the old one with all its entries, and a state from before."""
    own = {"cache_url": address.url}
    async with (
        fleet(serve, own, own, own | {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        ids = await witness.create(4)
        await witness.warm(ids)
        await eventually(pair.in_step)
        pair.link.hold()
        async with pair.primary.client() as primary:
            old = await epoch_of(primary)
            async with witness.watching(ids):
                await truncate(witness, ids)
                await eventually(lambda: _differs(primary, old))
                await asyncio.sleep(0.2)
                await pair.primary.kill()
                await pair.fail_over(address)
                await witness.verdict()
        await witness.settled(ids)
        async with pair.replica.client() as redis:
            assert await epoch_of(redis) != old


async def test_promoted_server_is_empty(serve: Serve, database_url: str, address: Proxy, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    async with redis_server(tmp_path / "empty") as empty:
        own = {"cache_url": address.url}
        async with (
            fleet(serve, own, own | {"cache_tiers": "redis"}) as replicas,
            witnessing(database_url, replicas) as witness,
        ):
            ids = await witness.create(4)
            await witness.warm(ids)
            async with witness.watching(ids):
                await witness.rename(ids[0])
                address.switch(empty.url)
                address.reset()
                await witness.rename(ids[1])
                assert await witness.patch(replicas[0], ids[2]) == 200
                await witness.verdict()
            await witness.settled(ids)


@pytest.mark.slow
async def test_server_is_killed_as_an_epoch_begins(serve: Serve, database_url: str, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as server:
        own = {"cache_url": server.url}
        async with (
            fleet(serve, own, own | {"cache_tiers": "redis"}) as replicas,
            witnessing(database_url, replicas) as witness,
        ):
            ids = await witness.create(4)
            await witness.warm(ids)
            async with witness.watching(ids):
                await truncate(witness, ids)
                await server.kill()
                await server.start()
                await witness.verdict()
            await witness.settled(ids)


@pytest.mark.slow
@pytest.mark.parametrize("tiers", ["memory,redis", "redis"])
async def test_sidecar_lags_behind_the_new_epoch(serve: Serve, database_url: str, pair: RedisPair, tiers: str) -> None:
    """It has the old epoch, while the primary has the new one. Then it begins again, or catches up."""
    beside = {"cache_url": pair.primary.url, "cache_read_url": pair.replica.socket_url, "cache_tiers": tiers}
    async with (
        fleet(serve, beside, beside, {"cache_url": pair.primary.url}) as replicas,
        witnessing(database_url, replicas) as witness,
        pair.primary.client() as primary,
    ):
        ids = await witness.create(4)
        await witness.warm(ids)
        await eventually(pair.in_step)
        pair.link.hold()
        old = await epoch_of(primary)
        async with witness.watching(ids):
            await truncate(witness, ids)
            await eventually(lambda: _differs(primary, old))
            new = await witness.create(2)
            for replica in replicas[:2]:
                # The sidecar's `alive` still lives: its epoch must not come back in this process.
                async with Connection(replica) as connection:
                    for user_id in new * 3:
                        assert (await witness.ask(replica, connection, user_id)).name == witness.name(user_id)
            await witness.verdict()
            pair.link.release()
            await witness.verdict()
        await witness.settled(ids + new)
        pair.link.hold()
        await truncate(witness, new)
        await pair.primary.forget_history()
        pair.link.reset()
        pair.link.release()
        await asyncio.sleep(BOUND)
        await witness.settled(ids + new)


async def test_state_is_lost_alone(serve: Serve, database_url: str, cache_url: str) -> None:
    async with (
        fleet(serve, {}, {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
        Redis.from_url(cache_url) as redis,
    ):
        ids = await witness.create(4)
        await witness.warm(ids)
        async with witness.watching(ids):
            for user_id in ids:
                await redis.delete((await cache_names(redis)).state)
                assert await witness.patch(replicas[0], user_id) == 200
                async with Connection(replicas[1]) as connection:
                    assert (await witness.ask(replicas[1], connection, user_id)).name == witness.name(user_id)
                await asyncio.sleep(0.3)
            await witness.verdict()
        await witness.settled(ids)


async def _differs(redis: Redis, epoch: str) -> bool:
    return await epoch_of(redis) != epoch


async def test_nothing_is_trusted_while_a_trigger_is_off(serve: Serve, database_url: str, cache_url: str) -> None:
    """Every replica is ready, and gives the reason. What was read meanwhile is not cached afterwards."""
    async with (
        serve() as first,
        serve(replica_name="replica-b", cache_tiers="redis") as second,
        witnessing(database_url, [str(first.base_url), str(second.base_url)]) as witness,
        Redis.from_url(cache_url) as redis,
    ):
        clients = (first, second)
        ids = await witness.create(3)
        await witness.warm(ids)
        before = await epoch_of(redis)
        try:
            await witness.sql.execute("ALTER TABLE users DISABLE TRIGGER user_changes_update")

            async def told() -> bool:
                answers = [await client.get("/readyz") for client in clients]
                return all("users may go unseen" in str(answer.json().get("details")) for answer in answers)

            await eventually(told)
            for client in clients:
                assert 'cache_untrusted{cache="user",reason="' in (await client.get("/metrics")).text
            async with witness.watching(ids):
                await witness.rename(*ids)
                await witness.verdict()
            await witness.sql.execute("ALTER TABLE users ENABLE TRIGGER user_changes_update")
            await witness.settled(ids)
        finally:
            await witness.sql.execute("ALTER TABLE users ENABLE TRIGGER user_changes_update")
        for client in clients:
            assert (await client.get("/readyz")).json() == {"status": "ready"}
            assert "cache_untrusted{" not in (await client.get("/metrics")).text
        assert await epoch_of(redis) != before
