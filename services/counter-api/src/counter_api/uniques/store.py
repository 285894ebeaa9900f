"""What a store of uniques can do. It has hashes of the members, never the members."""

from dataclasses import dataclass
from typing import Protocol

from counter_api.counters.operations import RecordKey


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many different members there were. `error` is the standard error relative to the value, 0 if exact."""

    value: int
    error: float
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Whether there was anything to forget."""

    existed: bool
    replayed: bool = False


class UniquesStore(Protocol):
    """Adding is idempotent, so it may be repeated if its outcome is unknown.

    A change with `once` is done once; later it has the same outcome. Another payload is an IdempotencyMismatch.
    """

    async def add(self, name: str, member_hash: str, once: RecordKey | None = None) -> Estimate: ...

    async def count(self, name: str) -> Estimate:
        """0 if nothing was ever added."""
        ...

    async def delete(self, name: str, once: RecordKey | None = None) -> Forgotten: ...
