"""The tutorial's counter: a global variable and a lock. Right in one process, and only there.

Every further process has variables of its own, so it counts for itself; tests/test_tutorial_counter.py shows it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from counter_api.operations import (
    Applied,
    Delete,
    Increment,
    Once,
    Outcome,
    Put,
    no_such_counter,
)
from counter_api.problems import IdempotencyMismatch
from counter_api.storage.expiring import ExpiringDict
from counter_api.storage.protocol import Page


class MemoryStore:
    def __init__(self, *, replica: str, idempotency_ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`idempotency_ttl` and `clock` are in seconds."""
        self._lock = asyncio.Lock()
        self._replica = replica
        self._idempotency_ttl = idempotency_ttl
        self._counters: ExpiringDict[str, int] = ExpiringDict(clock)
        self._records: ExpiringDict[tuple[str, str], tuple[str, int]] = ExpiringDict(clock)
        self._batches: ExpiringDict[str, str] = ExpiringDict(clock)
        self._requests = 0

    async def increment(self, operations: Sequence[Increment]) -> list[Outcome]:
        async with self._lock:
            return [self._increment(operation) for operation in operations]

    def _increment(self, operation: Increment) -> Outcome:
        try:
            replayed = self._replay(operation)
        except IdempotencyMismatch as mismatch:
            return mismatch
        if replayed is not None:
            return replayed
        current = self._counters.get(operation.name) or 0
        lowest, highest = operation.allowed()
        if not lowest <= current <= highest:
            return operation.refusal(current)
        value = current + operation.by
        self._counters.put(operation.name, value, ttl=operation.ttl)
        return self._remember(operation, value)

    async def put(self, operation: Put) -> Applied:
        async with self._lock:
            if replayed := self._replay(operation):
                return replayed
            current = self._counters.get(operation.name)
            if operation.condition is not None and not operation.condition.holds(current):
                raise operation.condition.unmet(current)
            self._counters.put(operation.name, operation.value, ttl=None)
            return self._remember(operation, operation.value)

    async def delete(self, operation: Delete) -> Applied:
        async with self._lock:
            if replayed := self._replay(operation):
                return replayed
            current = self._counters.get(operation.name)
            if current is None:
                raise no_such_counter(operation.name)
            if operation.condition is not None and not operation.condition.holds(current):
                raise operation.condition.unmet(current)
            self._counters.pop(operation.name)
            return self._remember(operation, 0)

    def _replay(self, operation: Increment | Put | Delete) -> Applied | None:
        found = operation.once and self._records.get((operation.name, operation.once.record))
        if not operation.once or not found:
            return None
        fingerprint, value = found
        if fingerprint != operation.once.fingerprint:
            raise IdempotencyMismatch
        return Applied(value, replayed=True)

    def _remember(self, operation: Increment | Put | Delete, value: int) -> Applied:
        if operation.once:
            record = (operation.once.fingerprint, value)
            self._records.put((operation.name, operation.once.record), record, ttl=self._idempotency_ttl)
        return Applied(value)

    async def claim(self, batch: Once) -> None:
        async with self._lock:
            if (self._batches.get(batch.record) or batch.fingerprint) != batch.fingerprint:
                raise IdempotencyMismatch
            self._batches.put(batch.record, batch.fingerprint, ttl=self._idempotency_ttl)

    async def value(self, name: str) -> int | None:
        async with self._lock:
            return self._counters.get(name)

    async def page(self, *, prefix: str, after: str | None, limit: int) -> Page:
        async with self._lock:
            names = sorted(
                name for name in self._counters if name.startswith(prefix) and name[0] != "_" and name > (after or "")
            )
            values = [(name, self._counters.get(name)) for name in names[:limit]]
        following = names[limit - 1] if len(names) > limit else None
        return Page([(name, value) for name, value in values if value is not None], following)

    def count_request(self) -> Awaitable[None]:
        # Without a lock, because without an await in between nothing else runs in this process' event loop.
        self._requests += 1
        return asyncio.sleep(0)

    async def requests(self) -> dict[str, int]:
        return {self._replica: self._requests}

    def checks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        return {}
