"""Which replicas GET /stats names."""

import asyncio

import pytest
from redis.asyncio import Redis
from tests.support.serving import Serve

pytestmark = pytest.mark.anyio


async def test_stats_forget_replicas_that_are_gone_and_keep_the_total(serve: Serve, counters_url: str) -> None:
    async with serve() as one, Redis.from_url(counters_url) as redis:
        await one.get("/counter")
        # An older release noted no time. One replica has been gone for a day, another one for less.
        await redis.hset("{_requests}", mapping={"old": 2**53, "gone": 5, "away": 7})
        now = int((await redis.time())[0])
        await redis.zadd("{_requests}:seen", {"gone": now - 86_401, "away": now - 86_000})
        assert (await one.get("/stats")).json()["replicas"].keys() == {"old", "gone", "away", "replica-a"}
        async with serve(replica_name="replica-b") as two:
            while await redis.hexists("{_requests}", "gone"):  # noqa: ASYNC110 (Redis pushes nothing here)
                await asyncio.sleep(0.01)
            assert (await two.get("/stats")).json() == {
                "total_requests": 2**53 + 5 + 7 + 2 + 1,
                "replicas": {"old": 2**53, "away": 7, "replica-a": 2, "replica-b": 1},
            }
        # A replica without a time counts as seen now. One that comes back counts from the beginning.
        assert now <= int(await redis.zscore("{_requests}:seen", "old") or 0) <= now + 60
        async with serve(replica_name="gone") as back:
            stats = (await back.get("/stats")).json()
        assert (stats["replicas"]["gone"], stats["total_requests"]) == (1, 2**53 + 5 + 7 + 2 + 1 + 1)
