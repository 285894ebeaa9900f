"""Totals that only rise become rates over the last seconds."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

SPAN = 5.0
"""Seconds."""

_UNCOUNTED = ("/livez", "/readyz", "/metrics", "/v1/fleet/")
"""How routes begin that say nothing about the load."""


class Rates:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, Mapping[str, float]]] = deque()

    def add(self, totals: Mapping[str, float]) -> dict[str, float]:
        """The totals of now. Returns how much each has risen a second, over SPAN or since the first call."""
        now = self._clock()
        self._samples.append((now, totals))
        while len(self._samples) > 2 and self._samples[1][0] <= now - SPAN:
            self._samples.popleft()
        began, before = self._samples[0]
        elapsed = now - began
        if elapsed <= 0:
            return dict.fromkeys(totals, 0.0)
        return {name: round(max(0.0, total - before.get(name, 0.0)) / elapsed, 1) for name, total in totals.items()}


def samples(registry: CollectorRegistry, *names: str) -> Iterator[Sample]:
    """The present values of these metrics."""
    for metric in registry.restricted_registry(names).collect():
        yield from metric.samples


def answered(registry: CollectorRegistry) -> float:
    """Requests that this process has answered, without probes and without requests for the fleet."""
    found = samples(registry, "http_requests_total")
    return sum(sample.value for sample in found if not sample.labels["route"].startswith(_UNCOUNTED))
