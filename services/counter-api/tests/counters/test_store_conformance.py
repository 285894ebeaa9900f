"""What both stores must do alike. The tests call the stores directly."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from tests.support.once import asking, once

from counter_api.counters.operations import (
    INT64_MAX,
    INT64_MIN,
    VISITS,
    Applied,
    Delete,
    Increment,
    Operation,
    Outcome,
    Put,
    is_replay,
)
from counter_api.counters.series import STEPS, UNITS
from counter_api.counters.store import CounterStore, Page
from counter_api.metrics import Metrics
from counter_api.problems import CounterBound, CounterNotFound, CounterOverflow, StateMismatch
from counter_api.settings import Settings
from counter_api.stores import open_stores
from evenkeel.http.idempotency import IdempotencyMismatch
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import Problem

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["redis", "memory"])
async def store(make_settings: Callable[..., Settings], request: pytest.FixtureRequest) -> AsyncIterator[CounterStore]:
    settings = make_settings(store=request.param, idempotency_ttl=2)
    async with open_stores(settings, Metrics(CollectorRegistry())) as stores:
        yield stores.counters


async def add(store: CounterStore, name: str, by: int = 1, **options: int) -> Outcome:
    [outcome] = await store.apply([Increment(name=name, by=by, **options)])  # type: ignore[arg-type]
    return outcome


async def one(store: CounterStore, operation: Operation) -> Applied:
    [outcome] = await store.apply([operation])
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def told(outcomes: Sequence[Outcome]) -> list[object]:
    return [type(o) if isinstance(o, Problem) else o.value for o in outcomes]


async def test_a_counter_begins_at_zero_and_counts(store: CounterStore) -> None:
    assert await store.value("a") is None
    assert [await add(store, "a"), await add(store, "a", 5), await add(store, "a", -8)] == [
        Applied(1),
        Applied(6),
        Applied(-2),
    ]
    assert await store.value("a") == -2
    assert await store.value("b") is None


async def test_adding_zero_makes_a_counter(store: CounterStore) -> None:
    assert await add(store, "a", 0) == Applied(0)
    assert await store.value("a") == 0


async def test_concurrent_increments_are_distinct_and_without_gaps(store: CounterStore) -> None:
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


async def test_every_sum_of_two_edges_is_exact_or_refused(store: CounterStore) -> None:
    """Around 2^53, the limit of Lua's numbers, and 2^63, the limit of counters."""
    for current in NUMBERS:
        await one(store, Put(name="a", value=current))
        for by in NUMBERS:
            [outcome] = told([await add(store, "a", by)])
            assert outcome == expected(current, by, None, None), (current, by)
            assert await store.value("a") == (outcome if isinstance(outcome, int) else current)
            await one(store, Put(name="a", value=current))


async def test_bounds_hold_exactly_at_random_edges(store: CounterStore) -> None:
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
    assert told(await store.apply(operations)) == wanted


async def test_a_refused_increment_changes_nothing_and_says_what_there_is(store: CounterStore) -> None:
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


async def test_a_batch_is_judged_in_order(store: CounterStore) -> None:
    operations = [
        Increment(name="a", by=2, maximum=2),
        Increment(name="a", by=1, maximum=2),
        Increment(name="a", by=-1),
        Increment(name="a", by=1, maximum=2),
        Increment(name="b", by=0),
    ]
    assert told(await store.apply(operations)) == [2, CounterBound, 1, 2, 0]


async def test_callers_that_together_leave_64_bits_are_judged_one_by_one(store: CounterStore) -> None:
    await one(store, Put(name="a", value=INT64_MAX - 3))
    outcomes = await asyncio.gather(*(add(store, "a") for _ in range(10)))
    assert told(outcomes) == [INT64_MAX - 2, INT64_MAX - 1, INT64_MAX] + [CounterOverflow] * 7
    await one(store, Put(name="a", value=INT64_MIN + 1))
    steps = [-1, -1, 2, -1, INT64_MAX, INT64_MAX, INT64_MAX, -INT64_MAX, INT64_MIN, -1]
    outcomes = await store.apply([Increment(name="a", by=step) for step in steps])
    expected = [INT64_MIN, CounterOverflow, INT64_MIN + 2, INT64_MIN + 1, 0, INT64_MAX, CounterOverflow, 0]
    assert told(outcomes) == [*expected, INT64_MIN, CounterOverflow]


async def test_one_batch_may_go_all_the_way(store: CounterStore) -> None:
    """The sum of the increments does not fit into 64 bits, so one INCRBY cannot add it; the result fits."""
    await one(store, Increment(name="a", by=INT64_MIN, ttl=1))
    assert told(await store.apply([Increment(name="a", by=INT64_MAX)] * 2)) == [-1, INT64_MAX - 1]
    assert await store.value("a") == INT64_MAX - 1
    await asyncio.sleep(1.2)
    assert await store.value("a") is None


async def test_any_operations_are_judged_in_order(store: CounterStore) -> None:
    def changed(value: int) -> Put:
        return Put(name="a", value=value, preconditions=asking(frozenset({value - 1})))

    operations: list[Operation] = [
        Increment(name="a", by=4),
        changed(5),
        changed(5),
        Increment(name="b"),
        Delete(name="a", preconditions=asking(frozenset({4}))),
        Delete(name="a"),
        Delete(name="a"),
        changed(1),
        Increment(name="a", by=7, ttl=1),
        Put(name="a", value=9, preconditions=asking("*")),
        Increment(name="b"),
        Put(name="c", value=1),
        Delete(name="c"),
    ]
    outcomes = await store.apply(operations)
    refused = StateMismatch
    assert told(outcomes) == [4, 5, refused, 1, refused, 0, CounterNotFound, refused, 7, 9, 2, 1, 0]
    assert [outcome.members.get("current") for outcome in outcomes if isinstance(outcome, refused)] == [5, 5, None]
    assert [await store.value(name) for name in "abc"] == [9, 2, None]
    await asyncio.sleep(1.2)
    assert await store.value("a") is None


async def test_a_counter_made_anew_in_one_batch_has_no_time_to_live_of_the_old_one(store: CounterStore) -> None:
    await add(store, "a", ttl=1)
    assert told(await store.apply([Delete(name="a"), Increment(name="a", by=3)])) == [0, 3]
    await asyncio.sleep(1.2)
    assert await store.value("a") == 3


async def sums(store: CounterStore, name: str) -> dict[str, int]:
    """The sum of the latest two buckets: a bucket may end during a test."""
    return {unit: sum(bucket.value for bucket in await store.series(name, unit, 2)) for unit in UNITS}


async def test_series_get_what_the_counter_gets(store: CounterStore) -> None:
    assert await sums(store, "a") == {"minute": 0, "hour": 0, "day": 0}
    await asyncio.gather(*(one(store, Increment(name="a", by=2, series=("minute", "day"))) for _ in range(50)))
    await one(store, Increment(name="a", by=-30, series=("day",)))
    await add(store, "a", 1000)
    keyed = Increment(name="a", by=5, series=UNITS, once=once("k", 5))
    assert told(await store.apply([keyed, keyed])) == [1075, 1075]
    bounded = Increment(name="a", by=5, maximum=10, series=UNITS)
    assert told(await store.apply([bounded])) == [CounterBound]
    assert await sums(store, "a") == {"minute": 105, "hour": 5, "day": 75}
    assert await store.value("a") == 1075
    assert await sums(store, "b") == {"minute": 0, "hour": 0, "day": 0}


async def test_series_are_of_the_present_and_without_gaps(store: CounterStore) -> None:
    before = time.time()
    await one(store, Increment(name="a", by=2, series=UNITS))
    for unit in UNITS:
        buckets = await store.series("a", unit, 48)
        newest = buckets[-1].start
        assert newest % STEPS[unit] == 0
        assert before - STEPS[unit] - 1 <= newest <= time.time() + 1
        assert [bucket.start for bucket in buckets] == [newest - n * STEPS[unit] for n in range(47, -1, -1)]
        assert sum(bucket.value for bucket in buckets[:-2]) == 0


async def test_a_series_that_would_leave_64_bits_refuses_the_increment(store: CounterStore) -> None:
    hour = Increment(name="a", by=INT64_MAX, series=("hour",))
    assert told(await store.apply([hour])) == [INT64_MAX]
    await one(store, Put(name="a", value=0))
    [refused] = await store.apply([Increment(name="a", by=1, series=("day", "hour"))])
    assert isinstance(refused, CounterOverflow)
    assert (refused.detail, refused.members) == (
        f"The hour's {INT64_MAX} + 1 does not fit into 64 bits; nothing was changed.",
        {"name": "a", "series": "hour", "current": INT64_MAX},
    )
    # Together they do not fit; one by one some of them do.
    outcomes = await store.apply([Increment(name="a", by=by, series=("hour",)) for by in (-2, 1, 1, 1)])
    assert told(outcomes) == [-2, -1, 0, CounterOverflow]
    assert await sums(store, "a") == {"minute": 0, "hour": INT64_MAX, "day": 0}


async def test_deleting_a_counter_deletes_its_series(store: CounterStore) -> None:
    await one(store, Increment(name="a", by=5, series=UNITS))
    operations: list[Operation] = [
        Increment(name="a", by=5, series=("hour",)),
        Delete(name="a"),
        Increment(name="a", by=3, series=("hour",)),
    ]
    assert told(await store.apply(operations)) == [10, 0, 3]
    assert await sums(store, "a") == {"minute": 0, "hour": 3, "day": 0}
    await one(store, Delete(name="a"))
    assert await sums(store, "a") == {"minute": 0, "hour": 0, "day": 0}


async def test_time_to_live_counts_from_the_creation(store: CounterStore) -> None:
    await add(store, "a", ttl=1)
    await add(store, "keeps")
    await asyncio.sleep(0.5)
    # Neither a later ttl nor a put extends it.
    assert await add(store, "a", ttl=100) == Applied(2)
    assert await one(store, Put(name="a", value=7)) == Applied(7)
    assert await add(store, "keeps", ttl=1) == Applied(2)
    await asyncio.sleep(0.7)
    assert (await store.value("a"), await store.value("keeps")) == (None, 2)
    assert await add(store, "a") == Applied(1)
    await asyncio.sleep(1.2)
    assert await store.value("a") == 1


async def test_a_deleted_counter_leaves_its_time_to_live_behind(store: CounterStore) -> None:
    await add(store, "a", ttl=1)
    await one(store, Delete(name="a"))
    await add(store, "a")
    await asyncio.sleep(1.2)
    assert await store.value("a") == 1


async def test_put_compares_and_sets(store: CounterStore) -> None:
    assert await one(store, Put(name="a", value=INT64_MIN)) == Applied(INT64_MIN, created=True)
    assert await one(store, Put(name="a", value=3, preconditions=asking(frozenset({1, INT64_MIN})))) == Applied(3)
    assert await one(store, Put(name="a", value=4, preconditions=asking("*"))) == Applied(4)
    with pytest.raises(StateMismatch) as changed:
        await one(store, Put(name="a", value=5, preconditions=asking(frozenset({3}))))
    assert changed.value.members == {"current": 4}
    with pytest.raises(StateMismatch):
        await one(store, Put(name="a", value=5, preconditions=asking(frozenset())))
    for preconditions in (asking("*"), asking(frozenset({0}))):
        with pytest.raises(StateMismatch) as absent:
            await one(store, Put(name="b", value=5, preconditions=preconditions))
        assert absent.value.members == {"current": None}
    assert (await store.value("a"), await store.value("b")) == (4, None)


CONDITIONS: list[tuple[Preconditions, bool, bool]] = [
    # whether it holds if the value is 4, and if there is no counter
    (asking("*"), True, False),
    (asking(frozenset({4})), True, False),
    (asking(frozenset({3, 5})), False, False),
    (asking(frozenset({3, 4, 10**19})), True, False),
    (asking(frozenset()), False, False),
    (asking(none_match="*"), False, True),
    (asking(none_match=frozenset({4})), False, True),
    (asking(none_match=frozenset({3, 5})), True, True),
    (asking(none_match=frozenset()), True, True),
    (asking(frozenset({4}), frozenset({5})), True, False),
    (asking(frozenset({4}), frozenset({4})), False, False),
    (asking("*", "*"), False, False),
]


async def test_a_condition_is_judged_with_every_change(store: CounterStore) -> None:
    """RFC 9110, 13.1.1 and 13.1.2. Also together with conditions, times to live, and bounds that would refuse too."""
    for preconditions, there, absent in CONDITIONS:
        for change, refused_where_absent in (
            (Increment(name="a", preconditions=preconditions), StateMismatch),
            (Increment(name="a", maximum=5, minimum=-5, ttl=1000, preconditions=preconditions), StateMismatch),
            (Increment(name="a", series=UNITS, preconditions=preconditions), StateMismatch),
            (Put(name="a", value=7, preconditions=preconditions), StateMismatch),
            (Delete(name="a", preconditions=preconditions), CounterNotFound),
        ):
            await store.apply([Delete(name="a"), Put(name="a", value=4)])
            [outcome] = await store.apply([change])
            assert isinstance(outcome, Applied if there else StateMismatch), (change, outcome)
            if isinstance(outcome, Problem):
                assert (outcome.members, await store.value("a")) == ({"current": 4}, 4)
            await store.apply([Delete(name="a")])
            [outcome] = await store.apply([change])
            if absent and not isinstance(change, Delete):
                assert isinstance(outcome, Applied), (change, outcome)
            else:
                assert isinstance(outcome, refused_where_absent), (change, outcome)
                assert await store.value("a") is None


async def test_a_condition_is_judged_before_bounds(store: CounterStore) -> None:
    await add(store, "a", 4)
    for by, maximum in ((1, 4), (INT64_MAX, None)):
        asked = Increment(name="a", by=by, maximum=maximum, preconditions=asking(frozenset({5})))
        assert told(await store.apply([asked])) == [StateMismatch]
        held = replace(asked, preconditions=asking(frozenset({4})))
        assert told(await store.apply([held])) == [CounterOverflow if maximum is None else CounterBound]


async def test_conditions_are_judged_in_the_order_of_the_callers(store: CounterStore) -> None:
    """Also in one round trip: each is judged on the value that the one before left."""
    steps: list[Operation] = [Increment(name="a"), Increment(name="a")]
    for value in range(2, 12):
        steps += [
            Increment(name="a", preconditions=asking(frozenset({value}))),
            Increment(name="a", preconditions=asking(frozenset({value}))),
            Put(name="a", value=0, preconditions=asking(none_match="*")),
        ]
    outcomes = await asyncio.gather(*(store.apply([step]) for step in steps))
    expected: list[object] = [1, 2]
    for value in range(3, 13):
        expected += [value, StateMismatch, StateMismatch]
    assert [each for outcome in outcomes for each in told(outcome)] == expected


async def test_of_many_who_create_one_does(store: CounterStore) -> None:
    puts = [Put(name="a", value=n, preconditions=asking(none_match="*")) for n in range(30)]
    outcomes = [outcome for [outcome] in await asyncio.gather(*(store.apply([put]) for put in puts))]
    [made] = [outcome for outcome in outcomes if isinstance(outcome, Applied)]
    assert made.created
    assert await store.value("a") == made.value
    assert {outcome.members["current"] for outcome in outcomes if isinstance(outcome, Problem)} == {made.value}


async def test_of_concurrent_compare_and_sets_one_wins(store: CounterStore) -> None:
    await add(store, "a", 0)
    puts = [Put(name="a", value=n, preconditions=asking(frozenset({0}))) for n in range(1, 51)]
    outcomes = await asyncio.gather(*(one(store, put) for put in puts), return_exceptions=True)
    assert sorted(type(o).__name__ for o in outcomes) == ["Applied"] + ["StateMismatch"] * 49


async def test_delete(store: CounterStore) -> None:
    with pytest.raises(CounterNotFound):
        await one(store, Delete(name="a"))
    # RFC 9110, 13.2.1: a condition is not judged if the answer is 404 anyway.
    with pytest.raises(CounterNotFound):
        await one(store, Delete(name="a", preconditions=asking("*")))
    await add(store, "a", 4)
    with pytest.raises(StateMismatch):
        await one(store, Delete(name="a", preconditions=asking(frozenset({5}))))
    assert await store.value("a") == 4
    await one(store, Delete(name="a", preconditions=asking(frozenset({4}))))
    assert await store.value("a") is None


async def test_an_operation_with_a_key_is_applied_once(store: CounterStore) -> None:
    increment = Increment(name="a", by=5, once=once("k", "increment", 5))
    assert await store.apply([increment, increment]) == [Applied(5), Applied(5, replayed=True)]
    await add(store, "a")
    assert await store.apply([increment]) == [Applied(5, replayed=True)]
    put = Put(name="a", value=9, preconditions=asking(frozenset({6})), once=once("p", "put", 9))
    assert [await one(store, put), await one(store, put)] == [Applied(9), Applied(9, replayed=True)]
    delete = Delete(name="a", once=once("d", "delete"))
    assert [await one(store, delete), await one(store, delete)] == [Applied(0), Applied(0, replayed=True)]
    assert await store.value("a") is None


async def test_a_key_belongs_to_one_payload_of_one_counter(store: CounterStore) -> None:
    used = once("k", "increment", 5)
    other = once("k", "increment", 6)
    await store.apply([Increment(name="a", by=5, once=used)])
    assert told(await store.apply([Increment(name="a", by=6, once=other)])) == [IdempotencyMismatch]
    with pytest.raises(IdempotencyMismatch):
        await one(store, Put(name="a", value=1, once=other))
    with pytest.raises(IdempotencyMismatch):
        await one(store, Delete(name="a", once=other))
    assert await store.value("a") == 5
    assert told(await store.apply([Increment(name="b", by=6, once=other)])) == [6]


REFUSALS: list[tuple[Operation, type[Problem]]] = [
    (Increment(name="a", by=5, maximum=4), CounterBound),
    (Increment(name="a", by=INT64_MAX), CounterOverflow),
    (Increment(name="a", by=2, series=("minute", "hour")), CounterOverflow),
    (Increment(name="a", preconditions=asking(frozenset({9}))), StateMismatch),
    (Put(name="a", value=7, preconditions=asking(none_match="*")), StateMismatch),
    (Put(name="b", value=7, preconditions=asking("*")), StateMismatch),
    (Delete(name="a", preconditions=asking(none_match=frozenset({1}))), StateMismatch),
    (Delete(name="b"), CounterNotFound),
]


async def test_a_refusal_is_remembered(store: CounterStore) -> None:
    """The same problem, to the letter, whatever the counter is now."""
    hours = await one(store, Increment(name="a", by=INT64_MAX, series=("hour",)))
    assert hours == Applied(INT64_MAX)
    await one(store, Put(name="a", value=1))
    tried = [replace(operation, once=once(str(n), n)) for n, (operation, _) in enumerate(REFUSALS)]
    _, *first = await store.apply([Increment(name="a", by=0, series=("day",)), *tried])
    assert told(first) == [problem for _, problem in REFUSALS]
    await store.apply([Delete(name="a"), Put(name="b", value=5)])
    # One by one, each twice, and together with other operations than before.
    for operation, before in zip(tried, first, strict=True):
        company = Increment(name=operation.name, by=0)
        _, *again = await store.apply([company, operation, operation])
        assert isinstance(before, Problem)
        assert not is_replay(before)
        for problem in again:
            assert isinstance(problem, Problem)
            assert (problem.document(), is_replay(problem)) == (before.document(), True)
    assert (await store.value("a"), await store.value("b")) == (0, 5)


async def test_a_refusal_is_told_to_all_who_ask_at_once(store: CounterStore) -> None:
    refused = Increment(name="a", by=5, maximum=4, once=once("k", 5))
    outcomes = await asyncio.gather(*(store.apply([refused]) for _ in range(20)))
    assert [told(outcome) for outcome in outcomes] == [[CounterBound]] * 20
    assert [is_replay(outcome) for [outcome] in outcomes] == [False] + [True] * 19
    other = replace(refused, once=once("k", 6))
    assert told(await store.apply([other])) == [IdempotencyMismatch]


async def test_a_put_says_whether_it_made_the_counter(store: CounterStore) -> None:
    put, keyed = Put(name="a", value=1), Put(name="a", value=2, once=once("k", 2))
    operations: list[Operation] = [put, put, Delete(name="a"), keyed, put, keyed]
    outcomes = await store.apply(operations)
    made, replaced = Applied(1, created=True), Applied(1)
    assert outcomes == [
        made,
        replaced,
        Applied(0),
        Applied(2, created=True),
        replaced,
        Applied(2, created=True, replayed=True),
    ]


async def test_a_key_is_forgotten_after_its_time(store: CounterStore) -> None:
    increment = Increment(name="a", once=once("k", "increment"))
    await store.apply([increment])
    await asyncio.sleep(2.2)
    assert await store.apply([increment]) == [Applied(2)]


async def test_a_batch_key_belongs_to_one_payload(store: CounterStore) -> None:
    await store.claim(once("k", "one"))
    await store.claim(once("k", "one"))
    with pytest.raises(IdempotencyMismatch):
        await store.claim(once("k", "two"))
    await store.claim(once("other", "two"))


async def test_pages_are_sorted_and_complete(store: CounterStore) -> None:
    names = ["".join(letters) for letters in itertools.product("aB.", "c-", ["", "9", ":z"])]
    assert all(name[0].isalnum() or name[0] == "." for name in names)
    names = [f"n{name}" for name in names]
    await store.apply([Increment(name=name, by=place) for place, name in enumerate(names)])
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


async def test_pages_hide_what_is_no_callers_counter(store: CounterStore) -> None:
    await store.apply([Increment(name="a", once=once("k", "x")), Increment(name=VISITS)])
    await store.claim(once("k", "x"))
    assert await store.page(prefix="", after=None, limit=10) == Page([("a", 1)], None)
