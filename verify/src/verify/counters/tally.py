"""What one phase has counted of counters, and which promises it found broken."""

from dataclasses import dataclass
from typing import Any

from verify.counters.linearizability import Verdict
from verify.tally import EXAMPLES, Tally

BREACHES = {
    "lost": "units were acknowledged and are not there",
    "doubled": "units are there that nobody asked for",
    "disorder": "operations had ended before something began whose effect they show",
    "torn": "reads showed a part of one increment",
    "replay": "keys were answered otherwise than the first time, or without saying that it was a replay",
    "batch-order": "batches were not judged in the order of their operations",
    "foreign": "answers belonged to another request",
    "unexpected": "answers were none that the contract knows",
    "unanswered": "operations that could be repeated were never answered",
}


@dataclass(kw_only=True)
class CountersTally(Tally):
    """Increments are counted one by one, also those of a batch."""

    BREACHES = BREACHES

    increments: int = 0
    reads: int = 0
    """Answered ones."""
    acknowledged: int = 0
    retried: int = 0
    """Requests that were sent again."""
    replayed: int = 0
    """Answers that said they had been given before."""
    unknown: int = 0
    """Increments of which nobody can tell whether they were applied; they had no key."""
    applied: int = 0
    """Of these, those that must have been, by the values."""
    cut: int = 0
    """Requests whose connection the client broke off."""
    injected: int = 0
    """Times that the fault was done and undone."""
    seconds: float = 0

    def judged(self, counter: str, verdict: Verdict) -> None:
        """Add what the check of one counter's history has found."""
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
