"""Many callers on one connection: each gets the reply to its own request."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from counter_api.counters.encoding import Terms
from counter_api.counters.operations import Applied, Delete, Increment, Outcome, Put
from counter_api.counters.redis_store import FOR_EVER, Group
from counter_api.counters.series import Unit
from counter_api.metrics import Metrics
from counter_api.problems import CounterNotFound, NothingApplied
from counter_api.redis.calls import Call
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.problems import Problem
from evenkeel.redis.topology import topology_of

pytestmark = pytest.mark.anyio


RETENTION: Mapping[Unit, int] = {"minute": 3600, "hour": 86_400, "day": 864_000}
TERMS = Terms(idempotency_ttl=60, series_retention=RETENTION, replicated=False)


@pytest.fixture
async def pipeline(counters_url: str) -> AsyncIterator[RedisPipeline]:
    pipeline = RedisPipeline(topology_of(counters_url, name="test"), Metrics(CollectorRegistry()).redis_errors)
    yield pipeline
    await pipeline.close()


async def add(pipeline: RedisPipeline, name: str, by: int = 1) -> list[Outcome]:
    outcomes: list[Outcome] = await pipeline.submit(Group(name, [Increment(name=name, by=by)], TERMS, FOR_EVER))
    return outcomes


async def test_cancelled_callers_never_shift_the_replies(pipeline: RedisPipeline) -> None:
    choose = random.Random(1)

    async def echo(number: int) -> int:
        ask = pipeline.command if number % 2 else pipeline.read
        return int(await ask("ECHO", number))

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


async def test_thousands_of_cancelled_operations_never_answer_anybody_else(pipeline: RedisPipeline) -> None:
    """Each counter counts in steps of its own, so a wrong answer is noticed."""
    choose = random.Random(2)

    async def work(number: int) -> int:
        [outcome] = await add(pipeline, f"n{number}", number)
        assert isinstance(outcome, Applied)
        assert outcome.value % number == 0, "another caller's answer"
        return outcome.value

    cancelled = 0
    for _ in range(60):
        tasks = [asyncio.create_task(work(1000 + place)) for place in range(100)]
        chosen = choose.sample(tasks, 60)
        await asyncio.sleep(0)  # all are under way, and none can have been answered
        for task in chosen[:12]:
            task.cancel()
        for task in chosen[12:]:
            for _ in range(choose.randrange(3)):
                await asyncio.sleep(0)
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled += sum(isinstance(answer, asyncio.CancelledError) for answer in answers)
        assert not [a for a in answers if isinstance(a, Exception)]
    assert cancelled >= 60 * 12


async def test_a_cancelled_caller_is_still_applied_once(pipeline: RedisPipeline) -> None:
    tasks = [asyncio.create_task(add(pipeline, "a")) for _ in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    replies = await asyncio.gather(*tasks, return_exceptions=True)
    assert [place for place, reply in enumerate(replies) if isinstance(reply, asyncio.CancelledError)] == [
        *range(0, 100, 2)
    ]
    assert await pipeline.read("GET", "{a}") == b"100"


async def test_scripts_are_loaded_again_when_redis_forgets_them(pipeline: RedisPipeline, counters_url: str) -> None:
    async with Redis.from_url(counters_url) as redis:
        for total in range(1, 6):
            await redis.script_flush()
            assert await add(pipeline, "a") == [Applied(total)]
        await redis.script_flush()
        one, other = await asyncio.gather(add(pipeline, "a"), add(pipeline, "b", -7))
    assert (one, other) == ([Applied(6)], [Applied(-7)])


async def test_all_operations_on_a_counter_are_one_call(pipeline: RedisPipeline, counters_url: str) -> None:
    async with Redis.from_url(counters_url) as redis:
        await add(pipeline, "a")
        await redis.config_resetstat()
        first = add(pipeline, "a")
        outcomes = await asyncio.gather(first, *(add(pipeline, f"n{place % 3}") for place in range(999)))
        statistics = await redis.info("commandstats")
    assert sorted(outcome.value for [outcome] in outcomes[1:] if isinstance(outcome, Applied)) == sorted(
        [*range(1, 334)] * 3
    )
    assert statistics["cmdstat_evalsha"]["calls"] <= 8
    assert "cmdstat_eval" not in statistics
    assert statistics["cmdstat_incrby"]["calls"] == statistics["cmdstat_evalsha"]["calls"]


async def test_one_failure_in_a_round_trip_is_its_callers_alone(pipeline: RedisPipeline) -> None:
    good, bad, also = await pipeline.replies([Call(("ECHO", 1)), Call(("NOSUCH", 1)), Call(("ECHO", 2))])
    assert (good, also) == (b"1", b"2")
    assert isinstance(bad, NothingApplied)
    assert bad.detail.startswith("Redis refused, so nothing was changed: ERR unknown command")


async def test_a_crowded_counter_does_not_keep_another_one_waiting(counters_url: str) -> None:
    """Round trips are bounded, and operations leave in the order in which they came."""
    pipeline = RedisPipeline(
        topology_of(counters_url, name="test"),
        Metrics(CollectorRegistry()).redis_errors,
        most_waiting=200_000,
    )
    crowd = [pipeline.submit(Group("a", [Increment(name="a")], TERMS, FOR_EVER)) for _ in range(5_000)]
    other = asyncio.create_task(add(pipeline, "b"))
    await asyncio.sleep(0)
    later = [pipeline.submit(Group("a", [Increment(name="a")], TERMS, FOR_EVER)) for _ in range(5_000)]
    assert await other == [Applied(1)]
    assert not any(future.done() for future in later[1000:])
    outcomes = await asyncio.gather(*crowd, *later)
    assert [outcome.value for [outcome] in outcomes if isinstance(outcome, Applied)] == [*range(1, 10_001)]
    await pipeline.close()


async def test_too_many_waiting_are_refused_before_anything_is_sent(counters_url: str) -> None:
    pipeline = RedisPipeline(
        topology_of(counters_url, name="test"), Metrics(CollectorRegistry()).redis_errors, most_waiting=10
    )
    accepted = [pipeline.submit(Group("a", [Increment(name="a")], TERMS, FOR_EVER)) for _ in range(10)]
    with pytest.raises(NothingApplied, match="Too many operations are waiting for Redis, so nothing was changed"):
        pipeline.submit(Group("a", [Increment(name="a")], TERMS, FOR_EVER))
    outcomes = await asyncio.gather(*accepted)
    assert [outcome.value for [outcome] in outcomes if isinstance(outcome, Applied)] == [*range(1, 11)]
    assert await pipeline.read("GET", "{a}") == b"10"
    await pipeline.close()


async def test_deletions_are_not_held_up_by_what_memory_is_too_full_for(
    pipeline: RedisPipeline, counters_url: str
) -> None:
    async with Redis.from_url(counters_url) as redis:
        await add(pipeline, "a")
        await redis.config_set("maxmemory", "1")
        try:
            added, deleted, put = await asyncio.gather(
                add(pipeline, "a"),
                pipeline.submit(Group("a", [Delete(name="a")], TERMS, FOR_EVER)),
                pipeline.submit(Group("a", [Put(name="a", value=1)], TERMS, FOR_EVER)),
            )
        finally:
            await redis.config_set("maxmemory", "0")
    assert (type(added[0]), type(put[0])) == (NothingApplied, NothingApplied)
    assert deleted == [Applied(0)]
    [absent] = await pipeline.submit(Group("a", [Delete(name="a")], TERMS, FOR_EVER))
    assert isinstance(absent, CounterNotFound)
    assert isinstance(absent, Problem)
