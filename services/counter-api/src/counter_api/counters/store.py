"""What a store of counters can do. Both stores pass the same tests (test_store_conformance.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from counter_api.counters.operations import Operation, Outcome, RecordKey
from counter_api.counters.series import Bucket, Unit


@dataclass(frozen=True, slots=True)
class Page:
    """Names and values, sorted by name. The following page begins after `next_after`; None: there is none."""

    counters: list[tuple[str, int]]
    next_after: str | None


class CounterStore(Protocol):
    """Each operation takes effect at once and alone, or not at all.

    A method may raise NothingApplied or OutcomeUnknown when the store cannot be reached.
    """

    async def apply(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Judge the operations on a counter in order, each by itself. The outcomes are in the order of the operations.

        If Redis did not answer or could not be reached, that is an outcome too.
        """
        ...

    async def claim(self, batch: RecordKey) -> None:
        """Bind a batch's key to its payload; raise IdempotencyMismatch if it is bound to another one."""
        ...

    async def value(self, name: str) -> int | None:
        """The value, or None if there is no such counter; raise NotACounter for data that is none."""
        ...

    async def series(self, name: str, unit: Unit, last: int) -> list[Bucket]:
        """The latest `last` buckets, oldest first, ending with the present one."""
        ...

    async def page(self, *, prefix: str, after: str | None, limit: int) -> Page:
        """The first `limit` counters after `after` whose name begins with `prefix`, in constant memory."""
        ...
