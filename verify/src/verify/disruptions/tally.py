"""What clients have seen of one disruption."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from verify.tally import Tally

BREACHES = {
    "lost": "acknowledged writes are not in the values",
    "doubled": "writes are in the values that no client made",
}


@dataclass(kw_only=True)
class DisruptionTally(Tally):
    """`errors` has the failed requests by kind and reason."""

    BREACHES = BREACHES

    seconds: float = 0
    requests: int = 0
    repeated: int = 0
    """Requests that were sent again with the same key."""
    gap: float = 0
    """The longest time in seconds without a success of one kind of request."""

    @property
    def failed(self) -> int:
        return self.errors.total()

    def between(self, lines: Sequence[dict[str, Any]], second: float) -> None:
        """Take in what the load has written since this second of its time. Its sums begin with the load."""
        before = next((line for line in reversed(lines) if line["second"] <= second), None)
        window = [line for line in lines if line["second"] > second]
        if before is None or not window:
            return
        last = window[-1]
        self.seconds = last["second"] - before["second"]
        self.requests = last["requests"] - before["requests"]
        self.repeated = last["repeated"] - before["repeated"]
        self.errors = Counter(last["failed"]) - Counter(before["failed"])
        self.gap = max(line["gap"] for line in window)
        self.breaches = Counter({kind: last[kind] - before[kind] for kind in BREACHES if last[kind] > before[kind]})
        self.examples = last["examples"][len(before["examples"]) :]

    def answered(self) -> dict[str, int]:
        return {"requests": self.requests - self.failed}

    def counts(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 1),
            "requests": self.requests,
            "failed": self.failed,
            "errors": dict(self.errors),
            "repeated": self.repeated,
            "lost": self.breaches["lost"],
            "doubled": self.breaches["doubled"],
            "longest_gap": self.gap,
        }
