"""What every tier holds for a key."""

from dataclasses import dataclass

# Neither is frozen: a read in Redis makes one of each, and frozen ones take three times as long to make.

TAG_SIZE = 16
NO_TAG = bytes(TAG_SIZE)
"""Of rows that have no tags, and of those that are missing."""


@dataclass(slots=True)
class Entry:
    """One version of a row, as the bytes that answers are built from; no bytes: there is no such row.

    `tag` names this state of the row, and of no other row that had or will have its key; 16 bytes.
    """

    version: int
    payload: bytes
    tag: bytes = NO_TAG

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
