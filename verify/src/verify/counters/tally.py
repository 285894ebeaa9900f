"""The counts of one phase of `verify counters`, and the promises that it found broken."""

from dataclasses import dataclass
from typing import Any

from verify.counters.linearizability import Verdict
from verify.tally import EXAMPLES, Tally

BREACHES = {
    "lost": "units were acknowledged and are not in the values",
    "doubled": "units are in the values that no increment made",
    "disorder": "operations show the effect of another one, although they had ended before it began",
    "torn": "reads showed a part of one increment",
    "replay": "keys got another answer than the first time, or one that is not marked as a replay",
    "batch-order": "batches were not applied in the order of their operations",
    "foreign": "answers belonged to another request",
    "unexpected": "answers are not allowed by the contract",
    "unanswered": "operations that can be repeated never got an answer",
}


@dataclass(kw_only=True)
class CountersTally(Tally):
    """Counts each increment, also those of a batch."""

    BREACHES = BREACHES

    increments: int = 0
    reads: int = 0
    """Answered reads."""
    acknowledged: int = 0
    retried: int = 0
    """Requests that were sent again."""
    replayed: int = 0
    """Answers that are marked as replays."""
    unknown: int = 0
    """Increments without a key that may or may not have been applied."""
    applied: int = 0
    """Those of them that must have been applied, as the values show."""
    cut: int = 0
    """Requests whose client hung up."""
    injected: int = 0
    """How often the fault was injected, and undone."""
    seconds: float = 0

    def judged(self, counter: str, verdict: Verdict) -> None:
        """Add the verdict on one counter's history."""
        self.applied += verdict.applied
        found = {
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "disorder": verdict.disordered,
            "torn": verdict.torn,
        }
        self.breaches.update({kind: count for kind, count in found.items() if count})
        self.examples += [f"{counter}: {example}" for example in verdict.examples]
        del self.examples[EXAMPLES:]

    def answered(self) -> dict[str, int]:
        return {"reads": self.reads, "increments": self.acknowledged}

    def counts(self) -> dict[str, Any]:
        return {
            "injected": self.injected,
            "seconds": round(self.seconds, 1),
            "increments": self.increments,
            "reads": self.reads,
            "acknowledged": self.acknowledged,
            "retried": self.retried,
            "replayed": self.replayed,
            "cut": self.cut,
            "unknown": self.unknown,
            "unknown_applied": self.applied,
            "errors": dict(self.errors),
            "lost": self.breaches["lost"],
            "doubled": self.breaches["doubled"],
            "disorder": self.breaches["disorder"],
        }
