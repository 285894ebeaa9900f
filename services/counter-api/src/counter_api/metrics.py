"""Metrics of counter-api, beside the requests that every service counts."""

from prometheus_client import CollectorRegistry, Counter


class Metrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.operations = Counter(
            "counter_operations",
            "Increments, sets and deletes by outcome: applied, replayed, or the slug of the problem",
            ["operation", "outcome"],
            registry=registry,
        )
        self.redis_errors = Counter(
            "counter_redis_errors",
            "Calls that Redis did not answer with success: not-sent, no-answer, or the code of its error",
            ["reason"],
            registry=registry,
        )
        self.uncounted_requests = Counter(
            "counter_uncounted_requests", "Requests that may be missing in /stats", registry=registry
        )
