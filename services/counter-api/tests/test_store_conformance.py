"""What both stores must do alike, asked of the stores themselves."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from prometheus_client import CollectorRegistry

from counter_api.main import open_store
from counter_api.metrics import Metrics
from counter_api.operations import (
    INT64_MAX,
    INT64_MIN,
    VISITS,
    Applied,
    Condition,
    Delete,
    Increment,
    Outcome,
    Put,
    once,
)
from counter_api.problems import CounterBound, CounterOverflow, IdempotencyMismatch
from counter_api.settings import Settings
from counter_api.storage.protocol import Page, Store
from evenkeel.problems import NotFound, PreconditionFailed, Problem

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["redis", "memory"])
async def store(make_settings: Callable[..., Settings], request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    settings = make_settings(store=request.param, idempotency_ttl=2)
    async with open_store(settings, Metrics(CollectorRegistry())) as store:
        yield store


async def add(store: Store, name: str, by: int = 1, **options: int) -> Outcome:
    [outcome] = await store.increment([Increment(name=name, by=by, **options)])  # type: ignore[arg-type]
    return outcome


def told(outcomes: Sequence[Outcome]) -> list[object]:
    return [type(o) if isinstance(o, Problem) else o.value for o in outcomes]


async def test_a_counter_begins_at_zero_and_counts(store: Store) -> None:
    assert await store.value("a") is None
    assert [await add(store, "a"), await add(store, "a", 5), await add(store, "a", -8)] == [
        Applied(1),
        Applied(6),
        Applied(-2),
    ]
    assert await store.value("a") == -2
    assert await store.value("b") is None


async def test_adding_zero_makes_a_counter(store: Store) -> None:
    assert await add(store, "a", 0) == Applied(0)
    assert await store.value("a") == 0


async def test_concurrent_increments_are_distinct_and_without_gaps(store: Store) -> None:
    outcomes = await asyncio.gather(*(add(store, "a") for _ in range(1000)))
    assert sorted(o.value for o in outcomes if isinstance(o, Applied)) == list(range(1, 1001))


EDGES = [0, 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**62, INT64_MAX - 1, INT64_MAX]
NUMBERS = sorted({sign * edge for edge in EDGES for sign in (1, -1)} | {INT64_MIN, 7, -7, 10, -10, 99, 100})


def expected(current: int, by: int, minimum: int | None, maximum: int | None) -> object:
    value = current + by
    if not INT64_MIN <= value <= INT64_MAX:
        return CounterOverflow
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        return CounterBound
    return value


async def test_every_sum_of_two_edges_is_exact_or_refused(store: Store) -> None:
    """Around 2^53, where Lua's numbers end, and 2^63, where the counter's end."""
    for current in NUMBERS:
        await store.put(Put(name="a", value=current))
        for by in NUMBERS:
            [outcome] = told([await add(store, "a", by)])
            assert outcome == expected(current, by, None, None), (current, by)
            assert await store.value("a") == (outcome if isinstance(outcome, int) else current)
            await store.put(Put(name="a", value=current))


async def test_bounds_hold_exactly_at_random_edges(store: Store) -> None:
    choose = random.Random(4).choice
    operations, wanted = [], []
    for place in range(1000):
        current, by, one, other = (choose(NUMBERS) for _ in range(4))
        minimum, maximum = choose([(None, one), (one, None), (min(one, other), max(one, other))])
        operations += [
            Increment(name=str(place), by=current),
            Increment(name=str(place), by=by, minimum=minimum, maximum=maximum),
        ]
        wanted += [current, expected(current, by, minimum, maximum)]
    assert told(await store.increment(operations)) == wanted


async def test_a_refused_increment_changes_nothing_and_says_what_there_is(store: Store) -> None:
    await add(store, "a", 9)
    bound = await add(store, "a", 2, maximum=10)
    assert isinstance(bound, CounterBound)
    assert (bound.detail, bound.members) == (
        "9 + 2 would pass the max of 10; nothing was changed.",
        {"name": "a", "current": 9},
    )
    below = await add(store, "fresh", 1, minimum=5)
    assert isinstance(below, CounterBound)
    assert below.members == {"name": "fresh", "current": 0}
    overflow = await add(store, "a", INT64_MAX)
    assert isinstance(overflow, CounterOverflow)
    assert overflow.members == {"name": "a", "current": 9}
    assert (await store.value("a"), await store.value("fresh")) == (9, None)


async def test_a_batch_is_judged_in_order(store: Store) -> None:
    operations = [
        Increment(name="a", by=2, maximum=2),
        Increment(name="a", by=1, maximum=2),
        Increment(name="a", by=-1),
        Increment(name="a", by=1, maximum=2),
        Increment(name="b", by=0),
    ]
    assert told(await store.increment(operations)) == [2, CounterBound, 1, 2, 0]


async def test_time_to_live_counts_from_the_creation(store: Store) -> None:
    await add(store, "a", ttl=1)
    await add(store, "keeps")
    await asyncio.sleep(0.5)
    # Neither a later ttl nor a put extends it.
    assert await add(store, "a", ttl=100) == Applied(2)
    assert await store.put(Put(name="a", value=7)) == Applied(7)
    assert await add(store, "keeps", ttl=1) == Applied(2)
    await asyncio.sleep(0.7)
    assert (await store.value("a"), await store.value("keeps")) == (None, 2)
    assert await add(store, "a") == Applied(1)
    await asyncio.sleep(1.2)
    assert await store.value("a") == 1


async def test_a_deleted_counter_leaves_its_time_to_live_behind(store: Store) -> None:
    await add(store, "a", ttl=1)
    await store.delete(Delete(name="a"))
    await add(store, "a")
    await asyncio.sleep(1.2)
    assert await store.value("a") == 1


async def test_put_compares_and_sets(store: Store) -> None:
    assert await store.put(Put(name="a", value=INT64_MIN)) == Applied(INT64_MIN)
    assert await store.put(Put(name="a", value=3, condition=Condition(frozenset({1, INT64_MIN})))) == Applied(3)
    assert await store.put(Put(name="a", value=4, condition=Condition(None))) == Applied(4)
    with pytest.raises(PreconditionFailed) as changed:
        await store.put(Put(name="a", value=5, condition=Condition(frozenset({3}))))
    assert changed.value.members == {"current": 4}
    with pytest.raises(PreconditionFailed):
        await store.put(Put(name="a", value=5, condition=Condition(frozenset())))
    for condition in (Condition(None), Condition(frozenset({0}))):
        with pytest.raises(PreconditionFailed) as absent:
            await store.put(Put(name="b", value=5, condition=condition))
        assert absent.value.members == {"current": None}
    assert (await store.value("a"), await store.value("b")) == (4, None)


async def test_of_concurrent_compare_and_sets_one_wins(store: Store) -> None:
    await add(store, "a", 0)
    puts = [Put(name="a", value=n, condition=Condition(frozenset({0}))) for n in range(1, 51)]
    outcomes = await asyncio.gather(*map(store.put, puts), return_exceptions=True)
    assert sorted(type(o).__name__ for o in outcomes) == ["Applied"] + ["PreconditionFailed"] * 49


async def test_delete(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.delete(Delete(name="a"))
    # As RFC 9110 13.2.1 has it, a condition is not looked at where the answer is 404 anyway.
    with pytest.raises(NotFound):
        await store.delete(Delete(name="a", condition=Condition(None)))
    await add(store, "a", 4)
    with pytest.raises(PreconditionFailed):
        await store.delete(Delete(name="a", condition=Condition(frozenset({5}))))
    assert await store.value("a") == 4
    await store.delete(Delete(name="a", condition=Condition(frozenset({4}))))
    assert await store.value("a") is None


async def test_an_operation_with_a_key_is_applied_once(store: Store) -> None:
    increment = Increment(name="a", by=5, once=once("k", "increment", 5))
    assert await store.increment([increment, increment]) == [Applied(5), Applied(5, replayed=True)]
    await add(store, "a")
    assert await store.increment([increment]) == [Applied(5, replayed=True)]
    put = Put(name="a", value=9, condition=Condition(frozenset({6})), once=once("p", "put", 9))
    assert [await store.put(put), await store.put(put)] == [Applied(9), Applied(9, replayed=True)]
    delete = Delete(name="a", once=once("d", "delete"))
    assert [await store.delete(delete), await store.delete(delete)] == [Applied(0), Applied(0, replayed=True)]
    assert await store.value("a") is None


async def test_a_key_belongs_to_one_payload_of_one_counter(store: Store) -> None:
    used = once("k", "increment", 5)
    other = once("k", "increment", 6)
    await store.increment([Increment(name="a", by=5, once=used)])
    assert told(await store.increment([Increment(name="a", by=6, once=other)])) == [IdempotencyMismatch]
    with pytest.raises(IdempotencyMismatch):
        await store.put(Put(name="a", value=1, once=other))
    with pytest.raises(IdempotencyMismatch):
        await store.delete(Delete(name="a", once=other))
    assert await store.value("a") == 5
    assert told(await store.increment([Increment(name="b", by=6, once=other)])) == [6]


async def test_a_refused_operation_leaves_its_key_free(store: Store) -> None:
    refused = Increment(name="a", by=5, maximum=4, once=once("k", "increment", 5))
    assert told(await store.increment([refused])) == [CounterBound]
    await add(store, "a", -1)
    assert await store.increment([refused]) == [Applied(4)]


async def test_a_key_is_forgotten_after_its_time(store: Store) -> None:
    increment = Increment(name="a", once=once("k", "increment"))
    await store.increment([increment])
    await asyncio.sleep(2.2)
    assert await store.increment([increment]) == [Applied(2)]


async def test_a_batch_key_belongs_to_one_payload(store: Store) -> None:
    await store.claim(once("k", "one"))
    await store.claim(once("k", "one"))
    with pytest.raises(IdempotencyMismatch):
        await store.claim(once("k", "two"))
    await store.claim(once("other", "two"))


async def test_pages_are_sorted_and_complete(store: Store) -> None:
    names = ["".join(letters) for letters in itertools.product("aB.", "c-", ["", "9", ":z"])]
    assert all(name[0].isalnum() or name[0] == "." for name in names)
    names = [f"n{name}" for name in names]
    await store.increment([Increment(name=name, by=place) for place, name in enumerate(names)])
    values = {name: place for place, name in enumerate(names)}
    seen: list[tuple[str, int]] = []
    after = None
    while True:
        page = await store.page(prefix="n", after=after, limit=4)
        seen += page.counters
        if page.next_after is None:
            break
        assert len(page.counters) == 4
        after = page.next_after
    assert seen == sorted(values.items())
    exact = await store.page(prefix="", after=None, limit=len(names))
    assert exact == Page(sorted(values.items()), None)
    behind = await store.page(prefix="na", after="nac", limit=2)
    assert [name for name, _ in behind.counters] == ["nac9", "nac:z"]
    assert await store.page(prefix="zz", after=None, limit=2) == Page([], None)


async def test_pages_hide_what_is_no_callers_counter(store: Store) -> None:
    await store.increment([Increment(name="a", once=once("k", "x")), Increment(name=VISITS)])
    await store.claim(once("k", "x"))
    await store.count_request()
    assert await store.page(prefix="", after=None, limit=10) == Page([("a", 1)], None)


async def test_requests_are_counted(store: Store) -> None:
    await asyncio.gather(*(store.count_request() for _ in range(100)))
    queued = store.count_request()
    assert await store.requests() == {"replica-a": 101}
    await queued
