"""What one phase has counted of users, and which promises it found broken."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from verify.cache.staleness import quantile
from verify.tally import Tally

PROMISE = 2.0
"""Seconds after a commit in which a fresh answer may lack it: the first promise of docs/coherence.md."""

BREACHES = {
    "late": f"answers lacked as fresh what had been committed for more than {PROMISE:g} s",
    "min-version": "answers were older than Min-Version, or refused although that version had been committed",
    "own-write": "reads through the replica that had acknowledged a write lacked it, with nothing broken",
    "no-cache": "answers from the database itself were stale",
    "foreign": "answers held what had not been written there",
    "slow": "answers took longer than they may, with nothing down",
    "off": "replicas answered nothing from their caches long after all was well",
}


@dataclass
class Waits:
    """How long answers took: of the caches, and of the database, which says how busy the machine was."""

    cached: list[tuple[float, str]] = field(default_factory=list)
    database: float = 0.0

    def add(self, seconds: float, what: str, *, reference: bool) -> None:
        if reference:
            self.database = max(self.database, seconds)
        else:
            self.cached.append((seconds, what))

    def too_long(self, patience: float) -> list[tuple[float, str]]:
        """A cold read may wait for another one's, and then ask the database itself."""
        limit = 2 * self.database + patience
        return [(seconds, what) for seconds, what in self.cached if seconds > limit]


@dataclass(kw_only=True)
class CacheTally(Tally):
    """`strict`: nothing is broken on purpose, so that whoever writes must read it through the same replica at once."""

    BREACHES = BREACHES

    strict: bool
    writes: int = 0
    marked: int = 0
    """Answers that said themselves that they may be stale."""
    own: int = 0
    """Reads of a write through the replica that had acknowledged it."""
    own_stale: int = 0
    staleness: list[float] = field(default_factory=list)
    """Seconds, of the answers given as fresh that were stale."""
    sources: Counter[str] = field(default_factory=Counter)
    waits: Waits | None = None
    """How long answers took; None where something may be down."""

    @property
    def reads(self) -> int:
        """Answers given as fresh."""
        return self.sources.total()

    def fresh(self, source: str, staleness: float, what: str) -> None:
        """Count an answer that was given as fresh; `what` describes it in case it breaks the promise."""
        self.sources[source] += 1
        if staleness > 0:
            self.staleness.append(staleness)
        if staleness > PROMISE:
            self.breach("late", f"{what}, {staleness:.3f} s after a later commit was known")

    @contextlib.contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """A read that is answered in this block may take so much longer than two of the slowest from the database."""
        self.waits = Waits()
        try:
            yield
        finally:
            for took, what in self.waits.too_long(seconds):
                self.breach("slow", f"{what} took {took:.3f} s")
            self.waits = None

    def read_took(self, seconds: float, what: str, *, reference: bool) -> None:
        """`reference`: no cache was asked, so that it shows how busy this machine is."""
        if self.waits is not None:
            self.waits.add(seconds, what, reference=reference)

    def answered(self) -> dict[str, int]:
        return {"reads": self.reads, "writes": self.writes}

    def counts(self) -> dict[str, Any]:
        """Times in milliseconds."""
        ordered = sorted(self.staleness)
        return {
            "reads": self.reads,
            "writes": self.writes,
            "errors": dict(self.errors),
            "sources": dict(self.sources),
            "stale": len(ordered),
            "stale_share": len(ordered) / self.reads if self.reads else 0.0,
            "staleness_ms": {
                name: round(quantile(ordered, share) * 1000, 1)
                for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
            },
            "marked_stale": self.marked,
            "own_reads": self.own,
            "own_stale": self.own_stale,
        }
