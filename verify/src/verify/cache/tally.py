"""The counts of one phase of `verify cache`, and the promises that it found broken."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from verify.cache.staleness import quantile
from verify.tally import Tally

PROMISE = 2.0
"""Seconds after a commit in which a fresh answer may still lack it: the first promise of docs/coherence.md."""

BREACHES = {
    "late": f"answers given as fresh lacked a commit that was more than {PROMISE:g} s old",
    "min-version": "answers were older than Min-Version, or refused although that version had been committed",
    "own-write": "reads lacked a write although the same replica had acknowledged it, and nothing was broken",
    "no-cache": "answers from the database itself were stale",
    "foreign": "answers had data that had not been written to that user",
    "slow": "answers took longer than they may, with nothing down",
    "off": "replicas did not answer from their caches, long after everything was healthy",
}


@dataclass
class Waits:
    """How long answers took. Those of the database show how busy the machine was."""

    cached: list[tuple[float, str]] = field(default_factory=list)
    database: float = 0.0

    def add(self, seconds: float, what: str, *, reference: bool) -> None:
        if reference:
            self.database = max(self.database, seconds)
        else:
            self.cached.append((seconds, what))

    def too_long(self, patience: float) -> list[tuple[float, str]]:
        """A cold read may wait for another one's query, and then send its own."""
        limit = 2 * self.database + patience
        return [(seconds, what) for seconds, what in self.cached if seconds > limit]


@dataclass(kw_only=True)
class CacheTally(Tally):
    """`strict`: nothing is broken on purpose, so a write must be readable through the same replica at once."""

    BREACHES = BREACHES

    strict: bool
    promise: float = PROMISE
    """Seconds after a commit in which a fresh answer may still lack it."""
    writes: int = 0
    marked: int = 0
    """Answers that are marked as possibly stale."""
    own: int = 0
    """Reads of a write through the replica that had acknowledged it."""
    own_stale: int = 0
    staleness: list[float] = field(default_factory=list)
    """How many seconds stale the stale ones among the answers given as fresh were."""
    sources: Counter[str] = field(default_factory=Counter)
    waits: Waits | None = None
    """How long answers took; None where something may be down."""

    @property
    def reads(self) -> int:
        """Answers given as fresh."""
        return self.sources.total()

    def fresh(self, source: str, staleness: float, what: str) -> None:
        """Count an answer that was given as fresh. `what` describes it if it breaks the promise."""
        self.sources[source] += 1
        if staleness > 0:
            self.staleness.append(staleness)
        if staleness > self.promise:
            self.breach("late", f"{what}, {staleness:.3f} s after a later commit was known")

    @contextlib.contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """In this block, reads may take twice as long as the slowest one from the database, plus so many seconds."""
        self.waits = Waits()
        try:
            yield
        finally:
            for took, what in self.waits.too_long(seconds):
                self.breach("slow", f"{what} took {took:.3f} s")
            self.waits = None

    def read_took(self, seconds: float, what: str, *, reference: bool) -> None:
        """`reference`: the read used no cache, so it shows how busy this machine is."""
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
