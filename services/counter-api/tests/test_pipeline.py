"""Many callers on one connection: nobody ever gets another's reply."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from counter_api.metrics import Metrics
from counter_api.problems import NothingApplied
from counter_api.storage.pipeline import Call, RedisPipeline
from counter_api.storage.scripts import INCREMENT
from evenkeel.redis_client import connect

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pipeline(counters_url: str) -> AsyncIterator[RedisPipeline]:
    redis = connect(counters_url, name="test", connections=1)
    pipeline = RedisPipeline(redis, Metrics(CollectorRegistry()).redis_errors)
    yield pipeline
    await pipeline.close()


def increment(name: str, by: int) -> Call:
    lowest, highest = str(-(2**63)), str(2**63 - 1)
    return Call((1, f"{{{name}}}", by, lowest, highest, "", "", 60), INCREMENT)


async def test_cancelled_callers_never_shift_the_replies(pipeline: RedisPipeline) -> None:
    choose = random.Random(1)

    async def echo(number: int) -> int:
        return int(await pipeline.command("ECHO", number))

    for _ in range(20):
        tasks = [asyncio.create_task(echo(number)) for number in range(100)]
        for task in choose.sample(tasks, 50):
            # At every stage: not begun, queued, sent, answered.
            for _ in range(choose.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        answered = [(place, got) for place, got in enumerate(answers) if not isinstance(got, BaseException)]
        assert len(answered) >= 50
        assert all(place == got for place, got in answered)


async def test_a_cancelled_caller_is_still_applied_once(pipeline: RedisPipeline) -> None:
    tasks = [asyncio.create_task(pipeline.replies([increment("a", 1)])) for _ in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    assert [place for place, reply in enumerate(replies) if isinstance(reply, asyncio.CancelledError)] == [
        *range(0, 100, 2)
    ]
    assert await pipeline.command("GET", "{a}") == b"100"


async def test_scripts_are_loaded_again_when_redis_forgets_them(pipeline: RedisPipeline, counters_url: str) -> None:
    async with Redis.from_url(counters_url) as redis:
        for total in range(1, 6):
            await redis.script_flush()
            assert await pipeline.replies([increment("a", 1)]) == [[b"applied", str(total).encode()]]
        await redis.script_flush()
        calls = [increment("a", 1), Call(("GET", "{a}")), increment("a", -3), increment("b", 7)]
        assert await pipeline.replies(calls) == [[b"applied", b"6"], b"6", [b"applied", b"3"], [b"applied", b"7"]]


async def test_scripts_travel_by_digest(pipeline: RedisPipeline, counters_url: str) -> None:
    async with Redis.from_url(counters_url) as redis:
        await pipeline.replies([increment("a", 1)])
        await redis.config_resetstat()
        await pipeline.replies([increment("a", 1)])
        await pipeline.replies([increment("a", 1)] * 100)
        statistics = await redis.info("commandstats")
    assert (statistics["cmdstat_evalsha"]["calls"], statistics["cmdstat_eval"]["calls"]) == (100, 1)


async def test_one_failure_in_a_round_trip_is_its_callers_alone(pipeline: RedisPipeline) -> None:
    good, bad, also = await pipeline.replies([Call(("ECHO", 1)), Call(("NOSUCH", 1)), Call(("ECHO", 2))])
    assert (good, also) == (b"1", b"2")
    assert isinstance(bad, NothingApplied)
    assert bad.detail.startswith("Redis refused, so nothing was changed: ERR unknown command")


async def test_what_queues_up_travels_together(pipeline: RedisPipeline) -> None:
    trips = 0
    send = pipeline._calls._send

    async def counted(calls: list[Call]) -> list[object]:
        nonlocal trips
        trips += 1
        return list(await send(calls))

    pipeline._calls._send = counted
    replies = await asyncio.gather(*(pipeline.replies([increment("a", 1)]) for _ in range(1000)))
    assert [int(reply[0][1]) for reply in replies] == [*range(1, 1001)]
    assert trips <= 2
