"""What replicas cost Redis while nothing is requested, and that a dead relay is still replaced in time."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.support.commands_at_rest import commands_a_second
from tests.support.redis_pair import redis_server
from tests.support.replica import Replica
from tests.support.serving import Serve
from tests.support.witness import relay_at_work, witnessing

from user_api.settings import Settings

pytestmark = pytest.mark.anyio

RELAY, STANDBY = 40, 20
"""Commands a second, those inside of scripts included."""


@pytest.mark.parametrize("tiers", ["memory,redis", "redis"])
async def test_commands_at_rest(serve: Serve, tmp_path: Path, tiers: str) -> None:
    """One replica, whose relay works, and a second one, which stands by."""
    async with redis_server(tmp_path) as server, server.client() as redis, AsyncExitStack() as stack:
        for goal in (RELAY, RELAY + STANDBY):
            await stack.enter_async_context(serve(cache_url=server.url, cache_tiers=tiers))
            assert await commands_a_second(redis, goal=goal) <= goal


@pytest.mark.slow
@pytest.mark.parametrize("tiers", ["memory,redis", "redis", "memory", ""])
async def test_a_killed_replica_is_not_missed(
    make_settings: Callable[..., Settings], database_url: str, tmp_path: Path, tiers: str
) -> None:
    """Of two replicas, the one whose relay works, if there is one. Entries stay: trust has not ended meanwhile."""
    async with AsyncExitStack() as stack:
        replicas = [Replica(make_settings(replica_name=name, cache_tiers=tiers), tmp_path) for name in ("one", "two")]
        for replica in replicas:
            stack.push_async_callback(replica.stop)
            await replica.start()
        by_url = {replica.url: replica for replica in replicas}
        witness = await stack.enter_async_context(witnessing(database_url, list(by_url)))
        ids = await witness.create(2)
        if tiers:
            await witness.warm(ids)
        async with witness.watching(ids):
            await by_url.pop(await relay_at_work(by_url) if "redis" in tiers else replicas[0].url).kill()
            await witness.rename(ids[0])
            if "redis" in tiers:
                await relay_at_work(by_url)
            await witness.rename(ids[1])
            await witness.verdict(by_url)
        witness.replicas = list(by_url)
        if tiers:
            await witness.settled(ids)
