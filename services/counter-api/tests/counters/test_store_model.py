"""The same random operations on the memory store, on Redis and on a plain Python model: the same outcomes."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from prometheus_client import CollectorRegistry
from tests.support.once import asking, once

from counter_api.counters.operations import Delete, Increment, Operation, Outcome, Put, is_replay
from counter_api.counters.series import UNITS, Unit
from counter_api.counters.store import CounterStore
from counter_api.metrics import Metrics
from counter_api.settings import Settings
from counter_api.stores import open_stores
from evenkeel.http.idempotency import fingerprint
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import Problem

EDGES = [0, 1, 7, 9_999_999_999, 10**10, 2**53 - 1, 2**53, 2**53 + 1, 2**62, 2**63 - 2, 2**63 - 1]
VALUES = st.one_of(
    st.sampled_from([sign * edge for edge in EDGES for sign in (1, -1)] + [-(2**63)]),
    st.integers(-20, 20),
    st.integers(-(2**63), 2**63 - 1),
)
NAMES = st.sampled_from(["a", "b"])
STATES = st.one_of(st.none(), st.just("*"), st.frozensets(st.one_of(VALUES, st.just(10**19))))
PRECONDITIONS = st.one_of(st.none(), st.builds(asking, STATES, STATES))
KEYS = st.one_of(st.none(), st.builds(once, st.sampled_from("xyz")))
LIMITS = st.one_of(st.none(), VALUES)
SERIES = st.lists(st.sampled_from(UNITS), unique=True).map(tuple)

PLAIN = st.builds(Increment, name=NAMES, by=VALUES)
INCREMENTS = st.builds(
    Increment,
    name=NAMES,
    by=VALUES,
    minimum=LIMITS,
    maximum=LIMITS,
    series=SERIES,
    preconditions=PRECONDITIONS,
    once=KEYS,
    ttl=st.just(1000),
)
PUTS = st.builds(Put, name=NAMES, value=VALUES, preconditions=PRECONDITIONS, once=KEYS)
DELETES = st.builds(Delete, name=NAMES, preconditions=PRECONDITIONS, once=KEYS)
OPERATIONS = st.one_of(PLAIN, st.builds(Increment, name=NAMES, series=SERIES), INCREMENTS, PUTS, DELETES)


def with_payload(operation: Operation) -> Operation:
    """With a key it has the fingerprint of its payload, as the service makes it."""
    if operation.once is None:
        return operation
    return replace(
        operation, once=replace(operation.once, fingerprint=fingerprint(repr(replace(operation, once=None))))
    )


def holds(preconditions: Preconditions, current: int | None) -> bool:
    tags = set() if current is None else {"*", str(current)}
    match, none_match = (
        tags_ and (tags_.states | {"*"} if tags_.every else tags_.states)
        for tags_ in (preconditions.match, preconditions.none_match)
    )
    return (match is None or bool(tags & match)) and not (none_match and tags & none_match)


class Model:
    """What docs/counters.md promises, in the simplest code."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.series: dict[tuple[str, Unit], int] = {}
        self._records: dict[tuple[str, str], tuple[str, object]] = {}

    def apply(self, operation: Operation) -> object:
        if operation.once is None:
            return self._judge(operation)
        place = operation.name, operation.once.record
        if place in self._records:
            fingerprint, result = self._records[place]
            return ("replayed", result) if fingerprint == operation.once.fingerprint else "idempotency-mismatch"
        result = self._judge(operation)
        self._records[place] = operation.once.fingerprint, result
        return result

    def _judge(self, operation: Operation) -> object:  # noqa: PLR0911 (one for each rule)
        name, current = operation.name, self.values.get(operation.name)
        if isinstance(operation, Delete) and current is None:
            return "not-found"
        if operation.preconditions is not None and not holds(operation.preconditions, current):
            return "precondition-failed", current
        if isinstance(operation, Increment):
            value = (current or 0) + operation.by
            sums = {unit: self.series.get((name, unit), 0) + operation.by for unit in operation.series}
            if not -(2**63) <= value < 2**63:
                return "counter-overflow"
            if operation.minimum is not None and value < operation.minimum:
                return "counter-bound"
            if operation.maximum is not None and value > operation.maximum:
                return "counter-bound"
            if any(not -(2**63) <= total < 2**63 for total in sums.values()):
                return "counter-overflow"
            self.values[name] = value
            self.series |= {(name, unit): total for unit, total in sums.items()}
            return "applied", value
        if isinstance(operation, Put):
            self.values[name] = operation.value
            return "created" if current is None else "applied", operation.value
        del self.values[name]
        self.series = {place: total for place, total in self.series.items() if place[0] != name}
        return "applied", 0


def plain(outcome: Outcome) -> object:
    if is_replay(outcome):
        return "replayed", _plain(outcome)
    return _plain(outcome)


def _plain(outcome: Outcome) -> object:
    if isinstance(outcome, Problem):
        slug = outcome.slug
        return (slug, outcome.members["current"]) if slug == "precondition-failed" else slug
    return "created" if outcome.created else "applied", outcome.value


class Stores(RuleBasedStateMachine):
    """Each run uses names of its own. The operations get them when they are applied."""

    runs = itertools.count()

    def __init__(self, make_settings: Callable[..., Settings]) -> None:
        super().__init__()
        self._run = next(self.runs)
        self._model = Model()
        self._keyed: list[Operation] = []
        self._loop = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._stores: list[CounterStore] = [
            self._loop.run(
                self._stack.enter_async_context(open_stores(make_settings(store=store), Metrics(CollectorRegistry())))
            ).counters
            for store in ("redis", "memory")
        ]

    def teardown(self) -> None:
        self._loop.run(self._stack.aclose())
        self._loop.close()

    @rule(operations=st.lists(OPERATIONS, min_size=1, max_size=8))
    def one_request(self, operations: list[Operation]) -> None:
        operations = [with_payload(operation) for operation in operations]
        self._keyed += [operation for operation in operations if operation.once is not None]
        expected = [self._model.apply(operation) for operation in operations]
        for store in self._stores:
            outcomes = self._loop.run(store.apply(self._named(operations)))
            assert [plain(outcome) for outcome in outcomes] == expected, store

    @rule(operations=st.lists(st.one_of(PLAIN, INCREMENTS, PUTS), min_size=2, max_size=12))
    def many_callers(self, operations: list[Operation]) -> None:
        """Sent at once, and applied in order."""
        operations = [with_payload(operation) for operation in operations]
        self._keyed += [operation for operation in operations if operation.once is not None]
        expected = [self._model.apply(operation) for operation in operations]

        async def all_at_once(store: CounterStore) -> list[list[Outcome]]:
            return await asyncio.gather(*(store.apply([operation]) for operation in self._named(operations)))

        for store in self._stores:
            outcomes = self._loop.run(all_at_once(store))
            assert [plain(outcome) for [outcome] in outcomes] == expected, store

    @precondition(lambda self: self._keyed)
    @rule(places=st.lists(st.integers(0, 100), min_size=1, max_size=5), others=st.lists(OPERATIONS, max_size=2))
    def retries(self, places: list[int], others: list[Operation]) -> None:
        """A retry of an earlier operation, alone or together with a new one."""
        self.one_request([*others, *(self._keyed[place % len(self._keyed)] for place in places)])

    @rule(by=VALUES, count=st.integers(2, 30))
    def a_crowd(self, by: int, count: int) -> None:
        self.many_callers([Increment(name="a", by=by)] * count)

    @invariant()
    def stores_hold_the_same(self) -> None:
        for store in self._stores:
            for name in ("a", "b"):
                assert self._loop.run(store.value(f"{self._run}-{name}")) == self._model.values.get(name), store
                for unit in UNITS:
                    # The latest two buckets: a bucket may end during a run.
                    buckets = self._loop.run(store.series(f"{self._run}-{name}", unit, 2))
                    expected = self._model.series.get((name, unit), 0)
                    assert expected in {buckets[1].value, buckets[0].value + buckets[1].value}, store

    def _named(self, operations: Sequence[Operation]) -> list[Any]:
        return [replace(operation, name=f"{self._run}-{operation.name}") for operation in operations]


@pytest.mark.parametrize("examples", [25, pytest.param(100, marks=pytest.mark.slow)])
def test_stores_do_what_the_model_does(make_settings: Callable[..., Settings], examples: int) -> None:
    class OnThese(Stores):
        def __init__(self) -> None:
            super().__init__(make_settings)

    run_state_machine_as_test(
        OnThese,
        settings=settings(
            max_examples=examples, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
