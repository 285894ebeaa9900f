"""What every tier holds for a key."""

from dataclasses import dataclass

# Neither is frozen: a read in Redis makes one of each, and frozen ones take three times as long to make.


@dataclass(slots=True)
class Entry:
    """One version of a row, as the bytes that answers are built from; no bytes: there is no such row."""

    version: int
    payload: bytes

    @property
    def exists(self) -> bool:
        return bool(self.payload)


ABSENT = Entry(0, b"")
"""The negative entry: the row does not exist."""


@dataclass(slots=True)
class Hit:
    """An entry found in a tier, and for how many seconds it is still fresh there (below zero: stale)."""

    entry: Entry
    ttl: float

    @property
    def fresh(self) -> bool:
        return self.ttl > 0


class TierUnavailable(Exception):
    """The tier did not answer; the next one is asked."""
