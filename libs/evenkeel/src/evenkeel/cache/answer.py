"""One read on its way through the tiers, and what it comes to."""

import time
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from evenkeel.cache.cache_status import TierStatus
from evenkeel.cache.database_breaker import PATIENCE
from evenkeel.cache.entry import Entry, Hit
from evenkeel.cache.filling import Source

R = TypeVar("R")


@dataclass(slots=True)
class Answer(Generic[R]):
    """What was found for one key, where, and what each tier did."""

    entry: Entry
    source: Source
    statuses: list[TierStatus]
    ready: R | None = None
    """What was prepared from the entry, if it came from memory."""


@dataclass(slots=True)
class Read:
    """One read on its way through the tiers."""

    key: str
    min_version: int
    statuses: list[TierStatus] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    known: Hit | None = None
    """What Redis had, whether it may be served or not."""

    @property
    def deadline(self) -> float:
        """Until when the reader waits for a database that does not answer."""
        return self.began + PATIENCE
