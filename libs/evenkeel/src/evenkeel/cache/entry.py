"""What every tier holds for a key."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of a row, as the bytes that answers are built from."""

    version: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry found in a tier, and for how many more seconds that tier will keep it."""

    entry: Entry
    ttl: float


class TierUnavailable(Exception):
    """The tier did not answer; the next one is asked."""


class Tier(Protocol):
    """One level of the cache. Any method may raise TierUnavailable."""

    name: str

    async def get(self, keys: list[int]) -> dict[int, Hit]:
        """Those of the keys that the tier holds, in one round trip."""

    async def put(self, entries: dict[int, Entry]) -> None:
        """Keep the entries, in one round trip."""

    async def invalidate(self, keys: list[int]) -> None:
        """Forget the keys, in one round trip."""
