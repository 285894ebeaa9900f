"""Lost replies, and copies of commands that arrive late: nothing is counted twice, and nothing is lost."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis
from tests.support.counter_stores import store_at
from tests.support.lossy_proxy import LossyProxy
from tests.support.once import asking, once

from counter_api.counters.operations import INT64_MAX, Applied, Delete, Increment, Operation, Outcome, Put, is_replay
from counter_api.counters.redis_store import RedisCounterStore
from counter_api.problems import CounterBound, CounterOverflow, NothingApplied, OutcomeUnknown, StateMismatch
from counter_api.settings import Settings
from evenkeel.http.problems import Problem

pytestmark = pytest.mark.anyio

MakeSettings = Callable[..., Settings]


@pytest.fixture
async def proxy(counters_url: str) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(counters_url).running() as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: LossyProxy, make_settings: MakeSettings) -> AsyncIterator[RedisCounterStore]:
    """Reaches Redis through the proxy."""
    async with store_at(make_settings(redis_url=proxy.url)) as store:
        await apply(store, Increment(name="warm", by=0))
        yield store


@pytest.fixture
async def elsewhere(make_settings: MakeSettings) -> AsyncIterator[RedisCounterStore]:
    """Another replica, whose connection is not broken."""
    async with store_at(make_settings(replica_name="replica-b")) as store:
        yield store


async def apply(store: RedisCounterStore, operation: Operation) -> Outcome:
    [outcome] = await store.apply([operation])
    return outcome


async def add(store: RedisCounterStore, by: int = 1) -> Outcome:
    return await apply(store, Increment(name="a", by=by))


async def test_a_lost_reply_is_asked_for_again(store: RedisCounterStore, proxy: LossyProxy) -> None:
    assert await add(store) == Applied(1)
    for value in range(2, 7):
        proxy.lose_next(value - 1)
        assert await add(store) == Applied(value)
    assert await store.value("a") == 6


async def test_every_operation_survives_a_lost_reply(store: RedisCounterStore, proxy: LossyProxy) -> None:
    await add(store, 5)
    assert await store.value("a") == 5
    operations: list[tuple[Operation, object]] = [
        (Increment(name="a", minimum=0, maximum=6), Applied(6)),
        (Increment(name="a", maximum=6), CounterBound),
        (Put(name="a", value=INT64_MAX), Applied(INT64_MAX)),
        (Increment(name="a"), CounterOverflow),
        (Increment(name="a", by=-1, once=once("k", 1)), Applied(INT64_MAX - 1)),
        (Increment(name="a", by=-1, once=once("k", 1)), Applied(INT64_MAX - 1, replayed=True)),
        (Delete(name="a"), Applied(0)),
        (Put(name="a", value=0, preconditions=asking(none_match="*")), Applied(0, created=True)),
        (Increment(name="a", preconditions=asking(frozenset({0}))), Applied(1)),
        (Delete(name="a", preconditions=asking("*")), Applied(0)),
        (Increment(name="a", ttl=100, series=("minute",)), Applied(1)),
    ]
    for operation, expected in operations:
        proxy.lose_next(2)
        outcome = await apply(store, operation)
        assert (type(outcome) if isinstance(outcome, Problem) else outcome) == expected, operation
    proxy.lose_next()
    assert [bucket.value for bucket in await store.series("a", "minute", 2)] in ([0, 1], [1, 0])
    refused = Increment(name="a", maximum=1, once=once("r", 1))
    for replayed in (False, True):
        proxy.lose_next(2)
        outcome = await apply(store, refused)
        # The second copy is the replica's. To the caller it is not a replay.
        assert (type(outcome), is_replay(outcome)) == (CounterBound, replayed)


async def test_under_load_with_every_fifth_reply_lost(store: RedisCounterStore, proxy: LossyProxy) -> None:
    choose = random.Random(3)
    proxy.loses = lambda: choose.random() < 0.2

    async def work() -> list[Outcome]:
        return [await add(store) for _ in range(40)]

    outcomes = [outcome for some in await asyncio.gather(*(work() for _ in range(50))) for outcome in some]
    assert sorted(o.value for o in outcomes if isinstance(o, Applied)) == [*range(1, 2001)]


async def test_a_copy_that_arrives_after_its_repetition_is_not_counted(
    store: RedisCounterStore, proxy: LossyProxy
) -> None:
    proxy.strand_next()
    assert await add(store) == Applied(1)
    assert proxy.stranded.is_set()
    await proxy.deliver_stranded()
    assert await add(store) == Applied(2)


async def test_a_copy_that_arrives_after_later_batches_is_not_counted(
    store: RedisCounterStore, proxy: LossyProxy
) -> None:
    """The receipt has the number of the last batch only, so older and newer numbers must be told apart."""
    proxy.strand_next()
    assert [await add(store) for _ in range(3)] == [Applied(1), Applied(2), Applied(3)]
    await proxy.deliver_stranded()
    await asyncio.sleep(0.1)
    assert await store.value("a") == 3
    assert await add(store) == Applied(4)


async def test_a_copy_of_what_was_refused_is_not_applied_later(store: RedisCounterStore, proxy: LossyProxy) -> None:
    await add(store, 5)
    bounded = Increment(name="a", maximum=5)
    proxy.strand_next()
    assert isinstance(await apply(store, bounded), CounterBound)
    assert proxy.stranded.is_set()
    # Now it would be permitted, but the caller's answer said that nothing was changed.
    await add(store, -3)
    await proxy.deliver_stranded()
    await asyncio.sleep(0.1)
    assert await store.value("a") == 2


async def test_a_refused_copy_is_not_applied_even_without_later_changes_of_ours(
    store: RedisCounterStore, elsewhere: RedisCounterStore, proxy: LossyProxy
) -> None:
    await add(elsewhere, 5)
    for operation, callers in (
        (Increment(name="a", maximum=5), 2),
        # The sum does not fit, so each is judged by itself.
        (Increment(name="a", by=INT64_MAX), 1),
        (Increment(name="a", by=INT64_MAX), 2),
        (Increment(name="a", by=INT64_MAX, series=("day",)), 2),
    ):
        proxy.strand_next()
        outcomes = await asyncio.gather(*(apply(store, operation) for _ in range(callers)))
        assert proxy.stranded.is_set()
        assert all(isinstance(outcome, Problem) for outcome in outcomes)
        await apply(elsewhere, Put(name="a", value=-10))
        await proxy.deliver_stranded()
        await asyncio.sleep(0.1)
        assert await store.value("a") == -10
        await apply(elsewhere, Put(name="a", value=5))


async def test_without_any_answer_the_outcome_is_unknown(proxy: LossyProxy, make_settings: MakeSettings) -> None:
    keyed = Increment(name="a", by=5, once=once("k", 1))
    async with store_at(make_settings(redis_url=proxy.url, patience=0.5)) as store:
        await add(store)
        proxy.loses = lambda: True
        unknown = await apply(store, keyed)
        assert isinstance(unknown, OutcomeUnknown)
        assert unknown.detail.startswith("Redis did not answer, so whether this was applied is unknown: ")
        assert unknown.detail.endswith("Retry with the same Idempotency-Key; a retry without one may count twice.")
        proxy.loses = lambda: False
        assert await apply(store, keyed) == Applied(6, replayed=True)
        assert await store.value("a") == 6


async def test_an_unknown_outcome_does_not_change_after_it_was_told(
    proxy: LossyProxy, elsewhere: RedisCounterStore, make_settings: MakeSettings
) -> None:
    """Else a caller that reads the counter, or retries with the key and is refused, would get a wrong picture."""
    async with store_at(make_settings(redis_url=proxy.url, patience=0.5)) as store:
        await add(store)
        proxy.strands = lambda piece: b"EVALSHA" in piece
        told = time.monotonic()
        assert isinstance(await add(store), OutcomeUnknown)
        assert time.monotonic() - told < 1.5
        assert await elsewhere.value("a") == 1
        await proxy.deliver_stranded()
        await asyncio.sleep(0.1)
        assert await elsewhere.value("a") == 1
        proxy.strands = lambda _: False
        assert await add(store) == Applied(2)


async def test_a_refused_repetition_does_not_make_the_outcome_known(
    proxy: LossyProxy, make_settings: MakeSettings, counters_url: str
) -> None:
    async with (
        store_at(make_settings(redis_url=proxy.url, patience=0.5)) as store,
        Redis.from_url(counters_url) as redis,
    ):
        await add(store)
        await redis.config_set("maxmemory", "1")
        try:
            assert isinstance(await add(store), NothingApplied)
            # The first copy is still on its way, even if Redis refuses the second one.
            proxy.strand_next()
            assert isinstance(await add(store), OutcomeUnknown)
        finally:
            await redis.config_set("maxmemory", "0")


async def test_what_was_never_sent_is_known_not_to_be_applied(make_settings: MakeSettings, counters_url: str) -> None:
    proxy = LossyProxy(counters_url)
    async with proxy.running():
        settings = make_settings(redis_url=proxy.url)
    async with store_at(settings) as store:
        for _ in range(2):
            outcome = await add(store)
            assert isinstance(outcome, NothingApplied)
            assert outcome.detail.startswith("Redis cannot be reached, so nothing was changed: ")


async def test_a_clock_that_was_set_is_asked_for_again(store: RedisCounterStore) -> None:
    [lane] = [lane for (kind, _), lane in store.pipeline._lanes.items() if kind == "changes"]
    [link] = lane._delivery._links.values()
    for seconds in (-3600, 3600):
        link._clock_ahead += seconds
        assert isinstance(await add(store), Applied)
    assert await store.value("a") == 2


async def test_a_connection_that_died_while_idle_costs_no_request(store: RedisCounterStore, counters_url: str) -> None:
    for value in range(1, 4):
        async with Redis.from_url(counters_url) as redis:
            await redis.client_kill_filter(_type="normal", skipme=True)
        assert await add(store) == Applied(value)
        assert await store.value("a") == value


async def test_counting_leaves_one_receipt_which_goes_by_itself(store: RedisCounterStore, counters_url: str) -> None:
    async with Redis.from_url(counters_url) as redis:
        for _ in range(20):
            await asyncio.gather(*(add(store) for _ in range(50)))
        [receipt] = await redis.keys("{a}:*")
        assert str(receipt).startswith("b'{a}:op:")
        assert 50 < await redis.ttl(receipt) <= 60
        assert await redis.strlen(receipt) < 20


async def test_a_compare_and_set_whose_reply_is_lost_is_not_refused_by_itself(
    store: RedisCounterStore, proxy: LossyProxy
) -> None:
    await add(store, 7)
    proxy.lose_next(2)
    swap = Put(name="a", value=8, preconditions=asking(frozenset({7})))
    assert await apply(store, swap) == Applied(8)
    assert isinstance(await apply(store, swap), StateMismatch)
