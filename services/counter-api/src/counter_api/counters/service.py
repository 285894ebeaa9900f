"""What counter-api does, apart from HTTP: requests become operations of a store, and outcomes are counted."""

import collections
from collections.abc import Sequence

from prometheus_client import Counter

from counter_api.counters.operations import (
    VISITS,
    Applied,
    Delete,
    Increment,
    Outcome,
    Put,
    is_replay,
    once,
)
from counter_api.counters.schemas import BatchOperation, IncrementRequest
from counter_api.counters.series import Bucket, Unit
from counter_api.counters.store import CounterStore, Page
from counter_api.metrics import Metrics
from counter_api.problems import CounterNotFound, NothingApplied, OutcomeUnknown
from evenkeel.http.idempotency import RequestKey
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import Problem

ANYTHING = Preconditions()


class CounterService:
    def __init__(self, store: CounterStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._operations: dict[tuple[str, str], Counter] = {}
        self._increments: collections.Counter[str] = collections.Counter()

    async def increment(
        self,
        name: str,
        request: IncrementRequest,
        preconditions: Preconditions = ANYTHING,
        key: RequestKey | None = None,
    ) -> Applied:
        """Raise the problem if nothing was added."""
        [outcome] = await self._apply([_operation(name, request, preconditions, key)])
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    async def increment_by_one(self, name: str) -> int:
        """The new value; raise the problem if nothing was added."""
        [outcome] = await self._store.apply((Increment(name=name),))
        self._count("increment", outcome)
        if isinstance(outcome, Problem):
            raise outcome
        self._increments[name] += 1
        return outcome.value

    def take_increments(self) -> collections.Counter[str]:
        """How often each counter was incremented through this process since the last call.

        Between two calls, the counters are as many as this process can increment.
        """
        taken, self._increments = self._increments, collections.Counter()
        return taken

    async def batch(self, requests: Sequence[BatchOperation], key: RequestKey | None) -> list[Outcome]:
        """Judge each operation by itself, in order. Raise only if the store could be reached for none of them.

        With a key, operations that were judged before have the same outcome again. The others are judged now.
        """
        if key is not None:
            await self._store.claim(once(key, *(request.model_dump() for request in requests)))
        outcomes = await self._apply(
            [_operation(request.name, request, ANYTHING, key, part=place) for place, request in enumerate(requests)]
        )
        for outcome in outcomes:
            if not isinstance(outcome, NothingApplied | OutcomeUnknown):
                return outcomes
        assert isinstance(outcomes[0], Problem)  # noqa: S101 (narrowed by the loop)
        raise outcomes[0]

    async def visit(self) -> int:
        """Count one more visit of GET /counter; the number of visits."""
        return await self.increment_by_one(VISITS)

    async def visits(self) -> int:
        """The number of visits of GET /counter."""
        try:
            return await self.value(VISITS)
        except CounterNotFound:
            return 0

    async def _apply(self, operations: Sequence[Increment]) -> list[Outcome]:
        outcomes = await self._store.apply(operations)
        for label, times in collections.Counter(map(_label, outcomes)).items():
            self._counted("increment", label).inc(times)
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(outcome, Applied) and not outcome.replayed:
                self._increments[operation.name] += 1
        return outcomes

    async def put(self, name: str, value: int, preconditions: Preconditions, key: RequestKey | None) -> Applied:
        tag = None if key is None else once(key, value, str(preconditions))
        return await self._changed("put", Put(name=name, value=value, preconditions=preconditions or None, once=tag))

    async def delete(self, name: str, preconditions: Preconditions, key: RequestKey | None) -> Applied:
        tag = None if key is None else once(key, str(preconditions))
        return await self._changed("delete", Delete(name=name, preconditions=preconditions or None, once=tag))

    async def _changed(self, what: str, operation: Put | Delete) -> Applied:
        [outcome] = await self._store.apply([operation])
        self._count(what, outcome)
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    async def value(self, name: str) -> int:
        """Raise CounterNotFound if there is no such counter."""
        value = await self._store.value(name)
        if value is None:
            raise CounterNotFound(name)
        return value

    async def series(self, name: str, unit: Unit, last: int) -> list[Bucket]:
        """The latest `last` buckets, oldest first. Without a counter or a series, all are 0."""
        return await self._store.series(name, unit, last)

    async def page(self, *, prefix: str, after: str | None, limit: int) -> Page:
        return await self._store.page(prefix=prefix, after=after, limit=limit)

    def _count(self, operation: str, outcome: Outcome) -> None:
        self._counted(operation, _label(outcome)).inc()

    def _counted(self, operation: str, outcome: str) -> Counter:
        # A look-up by labels costs more than the counting.
        counter = self._operations.get((operation, outcome))
        if counter is None:
            counter = self._operations[operation, outcome] = self._metrics.operations.labels(operation, outcome)
        return counter


def _label(outcome: Outcome) -> str:
    """As the metrics name it."""
    if isinstance(outcome, Applied):
        return "replayed" if outcome.replayed else "applied"
    return "replayed" if is_replay(outcome) else outcome.slug


def _operation(
    name: str, request: IncrementRequest, preconditions: Preconditions, key: RequestKey | None, part: int | None = None
) -> Increment:
    tag = None
    if key is not None:
        payload = (request.by, request.min, request.max, request.ttl, request.series, str(preconditions))
        tag = once(key, *payload, part=part)
    return Increment(
        name=name,
        by=request.by,
        minimum=request.min,
        maximum=request.max,
        ttl=request.ttl,
        series=tuple(request.series),
        preconditions=preconditions or None,
        once=tag,
    )
