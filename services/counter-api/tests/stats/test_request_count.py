"""How requests are tallied, in Redis and in memory."""

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from tests.support.lossy_proxy import LossyProxy
from tests.support.serving import Serve

from counter_api.counters.operations import Increment
from counter_api.metrics import Metrics
from counter_api.problems import NothingApplied, OutcomeUnknown
from counter_api.settings import Settings
from counter_api.stats.request_count import Requests
from counter_api.stores import open_stores
from evenkeel.http.problems import Problem

pytestmark = pytest.mark.anyio

MakeSettings = Callable[..., Settings]


@pytest.mark.parametrize("store", ["redis", "memory"])
async def test_requests_are_counted(make_settings: MakeSettings, store: str) -> None:
    async with open_stores(make_settings(store=store), Metrics(CollectorRegistry())) as stores:
        assert await asyncio.gather(*(stores.tally.count() for _ in range(100))) == [None] * 100
        queued = stores.tally.count()
        assert await stores.tally.requests() == Requests(101, {"replica-a": 101})
        assert await queued is None


@pytest.mark.parametrize("store", ["redis", "memory"])
async def test_pages_hide_the_tally(make_settings: MakeSettings, store: str) -> None:
    async with open_stores(make_settings(store=store), Metrics(CollectorRegistry())) as stores:
        await stores.tally.count()
        assert (await stores.counters.page(prefix="", after=None, limit=10)).counters == []


async def test_a_request_is_never_counted_twice(counters_url: str, make_settings: MakeSettings) -> None:
    """A count is not sent again. A missing one does no harm, and the metric shows it."""
    metrics, proxy = Metrics(CollectorRegistry()), LossyProxy(counters_url)
    async with proxy.running(), open_stores(make_settings(redis_url=proxy.url), metrics) as stores:
        assert await stores.tally.count() is None
        proxy.lose_next()
        assert isinstance(await stores.tally.count(), OutcomeUnknown)
        assert await stores.tally.count() is None
        assert await stores.tally.requests() == Requests(3, {"replica-a": 3})
    assert metrics.uncounted_requests._value.get() == 1


async def test_what_redis_did_not_take_is_counted_later(counters_url: str, make_settings: MakeSettings) -> None:
    metrics = Metrics(CollectorRegistry())
    async with open_stores(make_settings(), metrics) as stores, Redis.from_url(counters_url) as redis:
        await redis.config_set("maxmemory", "1")
        try:
            refused = await asyncio.gather(*(stores.tally.count() for _ in range(5)))
        finally:
            await redis.config_set("maxmemory", "0")
        assert [type(problem) for problem in refused] == [NothingApplied] * 5
        assert await stores.tally.count() is None
        assert await stores.tally.requests() == Requests(6, {"replica-a": 6})
    assert metrics.uncounted_requests._value.get() == 0


async def test_a_count_is_queued_however_much_is_waiting(make_settings: MakeSettings) -> None:
    async with open_stores(make_settings(max_waiting=2), Metrics(CollectorRegistry())) as stores:
        batch = asyncio.create_task(stores.counters.apply([Increment(name="a")] * 5))
        await asyncio.sleep(0)
        waiting = [stores.tally.count() for _ in range(50)]
        assert [outcome for outcome in await batch if isinstance(outcome, Problem)] == []
        assert await asyncio.gather(*waiting) == [None] * 50


async def test_a_request_is_counted_before_it_is_answered(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await client.get("/nowhere")
        # Redis delays writes for a while, so the answer has to wait for its count.
        await redis.client_pause(300, all=False)
        await client.get("/nowhere")
        assert await redis.hget("{_requests}", "replica-a") == b"2"


async def test_requests_that_come_together_are_counted_together(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await redis.config_resetstat()
        await asyncio.gather(*(client.get("/nowhere") for _ in range(100)))
        calls = (await redis.info("commandstats"))["cmdstat_hincrby"]["calls"]
        assert calls < 50
        assert await redis.hget("{_requests}", "replica-a") == b"100"
