"""What the clients of the load have seen since it began."""

import json
from collections import Counter
from collections.abc import Sequence

from verify.clock import Clock

EXAMPLES = 20
"""How many wrong answers are described. Further ones are only counted."""


class Seen:
    """Requests are counted once, however often they are repeated: they have failed if their first try has."""

    def __init__(self, kinds: Sequence[str], now: Clock) -> None:
        self._now = now
        self._began = now()
        self._successes = dict.fromkeys(kinds, self._began)
        self._gap = 0.0
        self._examples: list[str] = []
        self.requests = 0
        self.failed: Counter[str] = Counter()
        """By kind of request and reason."""
        self.repeated = 0
        self.lost = 0
        self.doubled = 0

    def requested(self, failure: str | None = None) -> None:
        self.requests += 1
        if failure:
            self.failed[failure] += 1

    def succeeded(self, kind: str) -> None:
        now = self._now()
        self._gap = max(self._gap, now - self._successes[kind])
        self._successes[kind] = now

    def wrong(self, what: str, lost: int, doubled: int) -> None:
        self.lost += lost
        self.doubled += doubled
        if (lost or doubled) and len(self._examples) < EXAMPLES:
            self._examples.append(f"{what}: {lost} lost, {doubled} doubled")

    def line(self) -> str:
        """All sums so far as JSON, with the longest gap between two successes of one kind since the last line."""
        now = self._now()
        gap = max([self._gap, *(now - last for last in self._successes.values())])
        self._gap = 0.0
        return json.dumps(
            {
                "second": round(now - self._began, 1),
                "requests": self.requests,
                "failed": self.failed,
                "repeated": self.repeated,
                "lost": self.lost,
                "doubled": self.doubled,
                "gap": round(gap, 3),
                "examples": self._examples,
            }
        )
