"""The tutorial's counter: a global variable and a lock. It is right in one process only.

A second process has variables of its own, so it counts for itself; tests/test_tutorial_counter.py shows it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from counter_api.counters.operations import (
    INT64_MAX,
    INT64_MIN,
    Applied,
    Delete,
    Increment,
    Operation,
    Outcome,
    Put,
    RecordKey,
    replay,
)
from counter_api.counters.series import STEPS, Bucket, Unit, bucket_start
from counter_api.counters.sorted_counters import SortedCounters
from counter_api.counters.store import Page
from counter_api.expiring import ExpiringDict
from counter_api.problems import CounterNotFound, StateMismatch
from evenkeel.http.idempotency import IdempotencyMismatch


class MemoryCounterStore:
    def __init__(
        self,
        *,
        idempotency_ttl: float,
        series_retention: Mapping[Unit, int],
        clock: Callable[[], float] = time.monotonic,
        calendar: Callable[[], float] = time.time,
    ) -> None:
        """Times are in seconds; `calendar` gives those since 1970-01-01T00:00Z."""
        self._lock = asyncio.Lock()
        self._idempotency_ttl = idempotency_ttl
        self._series_retention = series_retention
        self._calendar = calendar
        self._counters = SortedCounters(clock, self._forget_series)
        self._series: dict[tuple[str, Unit], dict[int, int]] = {}
        self._records: ExpiringDict[tuple[str, str], tuple[str, Outcome]] = ExpiringDict(clock)
        self._batches: ExpiringDict[str, str] = ExpiringDict(clock)

    @property
    def counters(self) -> SortedCounters:
        return self._counters

    async def apply(self, operations: Sequence[Operation]) -> list[Outcome]:
        async with self._lock:
            return [self._apply(operation) for operation in operations]

    def _apply(self, operation: Operation) -> Outcome:
        if (before := self._replay(operation)) is not None:
            return before
        outcome = self._judged(operation, self._counters.get(operation.name))
        if operation.once is not None:
            # A copy, because the caller raises the problem, which gives it a traceback.
            record = (operation.once.fingerprint, replay(outcome))
            self._records.put((operation.name, operation.once.record), record, ttl=self._idempotency_ttl)
        return outcome

    def _judged(self, operation: Operation, current: int | None) -> Outcome:
        if current is None and isinstance(operation, Delete):
            return CounterNotFound(operation.name)
        if operation.preconditions is not None and not operation.preconditions.hold(current):
            return StateMismatch(operation.preconditions, current)
        match operation:
            case Increment():
                return self._increment(operation, current or 0)
            case Put():
                self._counters.put(operation.name, operation.value, ttl=None)
                return Applied(operation.value, created=current is None)
            case Delete():
                self._counters.pop(operation.name)
                return Applied(0)

    def _replay(self, operation: Operation) -> Outcome | None:
        found = operation.once and self._records.get((operation.name, operation.once.record))
        if not operation.once or not found:
            return None
        fingerprint, outcome = found
        return replay(outcome) if fingerprint == operation.once.fingerprint else IdempotencyMismatch()

    def _increment(self, operation: Increment, current: int) -> Outcome:
        lowest, highest = operation.allowed()
        if not lowest <= current <= highest:
            return operation.refusal(current)
        now = self._calendar()
        for unit in operation.series:
            bucket = self._series.get((operation.name, unit), {}).get(bucket_start(unit, now), 0)
            if not INT64_MIN <= bucket + operation.by <= INT64_MAX:
                return operation.series_refusal(unit, bucket)
        for unit in operation.series:
            self._add_to_bucket(operation.name, unit, bucket_start(unit, now), operation.by)
        self._counters.put(operation.name, current + operation.by, ttl=operation.ttl)
        return Applied(current + operation.by)

    def _add_to_bucket(self, name: str, unit: Unit, start: int, by: int) -> None:
        buckets = self._series.setdefault((name, unit), {})
        if start not in buckets:
            for old in [each for each in buckets if each <= start - self._series_retention[unit]]:
                del buckets[old]
        buckets[start] = buckets.get(start, 0) + by

    def _forget_series(self, name: str) -> None:
        for unit in STEPS:
            self._series.pop((name, unit), None)

    async def claim(self, batch: RecordKey) -> None:
        async with self._lock:
            if (self._batches.get(batch.record) or batch.fingerprint) != batch.fingerprint:
                raise IdempotencyMismatch
            self._batches.put(batch.record, batch.fingerprint, ttl=self._idempotency_ttl)

    async def value(self, name: str) -> int | None:
        async with self._lock:
            return self._counters.get(name)

    async def series(self, name: str, unit: Unit, last: int) -> list[Bucket]:
        async with self._lock:
            newest = bucket_start(unit, self._calendar())
            # This removes the series of a counter that has expired.
            self._counters.get(name)
            buckets = self._series.get((name, unit), {})
        starts = range(newest - (last - 1) * STEPS[unit], newest + 1, STEPS[unit])
        return [Bucket(start, buckets.get(start, 0)) for start in starts]

    async def page(self, *, prefix: str, after: str | None, limit: int) -> Page:
        async with self._lock:
            found = self._counters.following(prefix=prefix, after=after or "", count=limit + 1)
        return Page(found[:limit], found[limit - 1][0] if len(found) > limit else None)
