"""The metrics of a cache, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """The metric families, made once for a registry and shared by all caches of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ["cache", *labels], registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, ["cache", *labels], registry=registry)

        self.reads = counter(
            "cache_reads", "Keys asked of a tier: hit, stale, miss, distrusted, unavailable", "tier", "result"
        )
        self.stale_if_error = counter(
            "cache_stale_if_error", "Answers marked stale, given because the database failed", "tier"
        )
        self.fills = counter("cache_fills", "Entries offered to a tier: stored, rejected", "tier", "result")
        self.lease_waits = counter(
            "cache_lease_waits", "Waits for another reader's fill: served, gave_up", "tier", "result"
        )
        self.loads = counter("cache_loads", "Queries sent to the database")
        self.collapsed = counter("cache_collapsed_reads", "Reads that shared the load of another one")
        self.gate_waiting = gauge("cache_gate_waiting", "Loads that wait for their turn at the database")
        self.invalidations = counter(
            "cache_invalidations", "Keys forgotten, by cause: write, relay, push, range", "cause"
        )
        self.flushes = counter("cache_flushes", "Times that a tier forgot everything", "tier", "reason")
        self.unreadable = counter("cache_unreadable_entries", "Redis entries answered as misses", "reason")
        self.memory_entries = gauge("cache_memory_entries", "Entries in process memory")
        self.memory_trusted = gauge("cache_memory_trusted", "1 while process memory may answer")
        self.breaker_open = gauge("cache_breaker_open", "1 while a Redis is not asked because it failed", "tier")
        self.relay_lag = gauge(
            "cache_relay_lag_seconds", "Age of the last look at the change log, by Redis; trust ends at 1.5"
        )
        self.untrusted = gauge(
            "cache_untrusted", "1 while the database is in a state in which nothing may be trusted", "reason"
        )
        self.relay_active = gauge("cache_relay_active", "1 in the replica whose relay is at work")


class CacheMetrics:
    """The series of one cache."""

    def __init__(self, metrics: Metrics, cache: str) -> None:
        self._all = metrics
        self._cache = cache
        # A series is looked up once, since that takes longer than to count in it.
        self._offers: dict[tuple[str, bool], Counter] = {}
        self.memory_hit = metrics.reads.labels(cache, "memory", "hit").inc
        self.memory_miss = metrics.reads.labels(cache, "memory", "miss").inc
        self.memory_distrusted = metrics.reads.labels(cache, "memory", "distrusted").inc
        self.redis_hit = metrics.reads.labels(cache, "redis", "hit").inc
        self.redis_stale = metrics.reads.labels(cache, "redis", "stale").inc
        self.redis_miss = metrics.reads.labels(cache, "redis", "miss").inc
        self.redis_distrusted = metrics.reads.labels(cache, "redis", "distrusted").inc
        self.redis_unavailable = metrics.reads.labels(cache, "redis", "unavailable").inc
        self.load = metrics.loads.labels(cache).inc
        self.collapse = metrics.collapsed.labels(cache).inc
        self.pushed = metrics.invalidations.labels(cache, "push").inc
        self.gate_waiting = metrics.gate_waiting.labels(cache)
        self.relay_lag = metrics.relay_lag.labels(cache)
        self.relay_active = metrics.relay_active.labels(cache)

    def stale_if_error(self, tier: str) -> None:
        self._all.stale_if_error.labels(self._cache, tier).inc()

    def offered(self, tier: str, *, stored: bool) -> None:
        """An entry was offered to a tier, which stores it or not."""
        offers = self._offers.get((tier, stored))
        if offers is None:
            offers = self._all.fills.labels(self._cache, tier, "stored" if stored else "rejected")
            self._offers[tier, stored] = offers
        offers.inc()

    def lease_wait(self, count: int, *, served: bool) -> None:
        self._all.lease_waits.labels(self._cache, "redis", "served" if served else "gave_up").inc(count)

    def invalidate(self, cause: str, count: int) -> None:
        self._all.invalidations.labels(self._cache, cause).inc(count)

    def flush(self, tier: str, reason: str) -> None:
        self._all.flushes.labels(self._cache, tier, reason).inc()

    def unreadable(self, reason: str) -> None:
        self._all.unreadable.labels(self._cache, reason).inc()

    def untrusted(self, reason: str | None) -> None:
        """Nothing may be trusted for this reason; None: there is no such reason."""
        self._all.untrusted.remove_by_labels({"cache": self._cache})
        if reason is not None:
            self._all.untrusted.labels(self._cache, reason).set(1)

    def observe_memory(self, entries: Callable[[], float], trusted: Callable[[], float]) -> None:
        self._all.memory_entries.labels(self._cache).set_function(entries)
        self._all.memory_trusted.labels(self._cache).set_function(trusted)

    def observe_breaker(self, tier: str, is_open: Callable[[], float]) -> None:
        self._all.breaker_open.labels(self._cache, tier).set_function(is_open)
