"""Members' hashes in sets in the memory of one process."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from counter_api.counters.operations import RecordKey
from counter_api.expiring import ExpiringDict
from counter_api.uniques.store import Estimate, Forgotten
from evenkeel.http.idempotency import IdempotencyMismatch

Answer = TypeVar("Answer", Estimate, Forgotten)


class MemoryUniquesStore:
    """Exact. Its size grows with the number of members."""

    def __init__(self, *, idempotency_ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`idempotency_ttl` is in seconds."""
        self._hashes: dict[str, set[str]] = {}
        self._idempotency_ttl = idempotency_ttl
        self._records: ExpiringDict[tuple[str, str], tuple[str, Any]] = ExpiringDict(clock)

    async def add(self, name: str, member_hash: str, once: RecordKey | None = None) -> Estimate:
        def add() -> Estimate:
            members = self._hashes.setdefault(name, set())
            members.add(member_hash)
            return Estimate(len(members), 0)

        return self._once(name, once, add)

    async def count(self, name: str) -> Estimate:
        return Estimate(len(self._hashes.get(name, ())), 0)

    async def delete(self, name: str, once: RecordKey | None = None) -> Forgotten:
        return self._once(name, once, lambda: Forgotten(self._hashes.pop(name, None) is not None))

    def _once(self, name: str, once: RecordKey | None, change: Callable[[], Answer]) -> Answer:
        if once is None:
            return change()
        if (found := self._records.get((name, once.record))) is not None:
            fingerprint, answer = found
            if fingerprint != once.fingerprint:
                raise IdempotencyMismatch
            again: Answer = replace(answer, replayed=True)
            return again
        answer = change()
        self._records.put((name, once.record), (once.fingerprint, answer), ttl=self._idempotency_ttl)
        return answer
