"""A read on its way through the tiers, and its answer."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from evenkeel.cache.cache_status import TierStatus
from evenkeel.cache.database_breaker import PATIENCE
from evenkeel.cache.entry import Entry, Hit
from evenkeel.cache.filling import Source

R = TypeVar("R")


Found = tuple[Entry, Source]
"""An entry, and where it was found. A plain tuple, because a batch makes a hundred of them."""


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
    """One read of one key or of several."""

    min_version: int = 0
    """Nothing older may answer."""

    marked: bool = True
    """Whether the answer has its statuses. Without them a stale entry would not be marked, so none may stand in."""

    statuses: list[TierStatus] = field(default_factory=list)
    """What each tier did with the key. With several keys, each overwrites the one before."""

    began: float = field(default_factory=time.monotonic)
    known: Mapping[str, Hit] = field(default_factory=dict)
    """What Redis had, whether or not it may be served."""

    @property
    def deadline(self) -> float:
        """Until when the reader waits for a database that does not answer."""
        return self.began + PATIENCE
