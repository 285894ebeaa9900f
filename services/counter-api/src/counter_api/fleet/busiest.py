"""The counters that are incremented most often: each replica reports its own, and a reader adds them up."""

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from evenkeel.service.fleet.rates import SPAN

SHOWN = 10

REPORTED = 20
"""Counters in the report of a replica. Each replica gets a share of every counter's increments, so its own list may
differ from that of the fleet."""

KEPT = 1000
"""Counters that are kept for each second."""


class Busiest:
    """Increments of this process over the last seconds, by counter."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._spans: deque[tuple[float, Mapping[str, int]]] = deque()

    def add(self, increments: Mapping[str, int]) -> dict[str, float]:
        """Take the increments since the last call. Returns the busiest counters, with their increments a second.

        The service's own counters are left out.
        """
        now = self._clock()
        most = heapq.nlargest(KEPT, increments.items(), key=lambda item: item[1])
        self._spans.append((now, {name: count for name, count in most if not name.startswith("_")}))
        while len(self._spans) > 1 and self._spans[0][0] <= now - SPAN:
            self._began = self._spans.popleft()[0]
        if now <= self._began:
            return {}
        sums: Counter[str] = Counter()
        for _, span in self._spans:
            sums.update(span)
        return {name: round(count / (now - self._began), 1) for name, count in sums.most_common(REPORTED)}


def together(reports: Iterable[object]) -> list[tuple[str, float]]:
    """The busiest counters of all reports, the busiest first."""
    sums: dict[str, float] = {}
    for report in reports:
        if isinstance(report, dict):
            for name, rate in report.items():
                if isinstance(name, str) and isinstance(rate, int | float):
                    sums[name] = sums.get(name, 0.0) + rate
    most = heapq.nsmallest(SHOWN, sums.items(), key=lambda item: (-item[1], item[0]))
    return [(name, round(rate, 1)) for name, rate in most if rate > 0]
