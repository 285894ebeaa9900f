"""What each tier holds of a key."""

from dataclasses import dataclass

# Neither is frozen: a read in Redis makes one of each, and frozen ones take three times as long to make.

TAG_SIZE = 16
NO_TAG = bytes(TAG_SIZE)
"""Of rows that have no tags, and of those that are missing."""


@dataclass(slots=True)
class Entry:
    """One version of a row, as the bytes that answers are built from. No bytes: there is no such row.

    `tag` (16 bytes) names this state of the row. Another row with the same key, before or after, has other tags.
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
    """An entry found in a tier, and the seconds that it is still fresh there (below zero: stale)."""

    entry: Entry
    ttl: float

    @property
    def fresh(self) -> bool:
        return self.ttl > 0


class TierUnavailable(Exception):
    """The tier did not answer; the next one is asked."""
