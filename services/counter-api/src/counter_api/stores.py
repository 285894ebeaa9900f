"""Where everything is kept: in Redis, or in the memory of this process."""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

from counter_api.counters.encoding import Terms
from counter_api.counters.memory_store import MemoryCounterStore
from counter_api.counters.redis_store import RedisCounterStore
from counter_api.counters.store import CounterStore
from counter_api.events.feed import Watch
from counter_api.events.memory_watch import MemoryWatch
from counter_api.events.redis_watch import RedisWatch
from counter_api.fleet.board import heartbeats
from counter_api.metrics import Metrics
from counter_api.redis import safety
from counter_api.redis.pipeline import RedisPipeline
from counter_api.settings import Settings
from counter_api.stats.presence import Presence
from counter_api.stats.request_count import MemoryTally, RedisTally, Tally
from counter_api.transfer.cluster_store import ClusterTransferStore
from counter_api.transfer.memory_store import MemoryTransferStore
from counter_api.transfer.redis_store import RedisTransferStore
from counter_api.transfer.store import TransferStore
from counter_api.uniques.memory_store import MemoryUniquesStore
from counter_api.uniques.redis_store import RedisUniquesStore
from counter_api.uniques.store import UniquesStore
from evenkeel.redis import topology_of
from evenkeel.redis.cluster import Cluster
from evenkeel.redis.heartbeats import Heartbeats


@dataclass(frozen=True, slots=True)
class Stores:
    """What each feature keeps its data in."""

    counters: CounterStore
    watch: Watch
    uniques: UniquesStore
    transfer: TransferStore
    tally: Tally
    checks: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What must hold for the replica to be ready."""
    heartbeats: Heartbeats | None = None
    """Of all replicas; None: this process is the only one."""
    connections: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """How many connections to Redis are in use, and how many there are."""
    background: tuple[Callable[[], AbstractAsyncContextManager[None]], ...] = ()
    """Work that the stores need while the replica runs, whether requests come or not."""


@contextlib.asynccontextmanager
async def open_stores(settings: Settings, metrics: Metrics) -> AsyncIterator[Stores]:
    """Those that the settings name, closed at the end."""
    if settings.redis_url is None or settings.store == "memory":
        yield _in_memory(settings)
        return
    pipeline = RedisPipeline(
        topology_of(
            settings.redis_url.get_secret_value(),
            name=f"counter-api-{settings.replica_name}",
            sentinels=settings.sentinels,
        ),
        metrics.redis_errors,
        replica_acks=settings.replica_acks,
        most_waiting=settings.max_waiting,
        patience=settings.patience,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(pipeline.close)
        terms = Terms(
            idempotency_ttl=settings.idempotency_ttl,
            series_retention=settings.series_retention,
            replicated=settings.replica_acks > 0,
        )
        counters = RedisCounterStore(pipeline, terms=terms, most_waiting=settings.max_waiting)
        stack.push_async_callback(counters.close)
        stores = _in_redis(pipeline, counters, settings, metrics)
        if not settings.allow_unsafe_redis:
            guard = safety.Safety(pipeline, replica_acks=settings.replica_acks)
            await guard.check_first()
            stores.checks["redis-settings"] = guard.check
        yield stores


def _in_redis(pipeline: RedisPipeline, counters: RedisCounterStore, settings: Settings, metrics: Metrics) -> Stores:
    replica = settings.replica_name
    transfer = ClusterTransferStore if isinstance(pipeline.topology, Cluster) else RedisTransferStore
    return Stores(
        counters=counters,
        watch=RedisWatch(pipeline.topology),
        uniques=RedisUniquesStore(pipeline, idempotency_ttl=settings.idempotency_ttl),
        transfer=transfer(pipeline, counters.listing),
        tally=RedisTally(pipeline, replica=replica, uncounted=metrics.uncounted_requests),
        checks={"redis": partial(safety.ping, pipeline)},
        heartbeats=heartbeats(pipeline),
        connections=lambda: pipeline.connections,
        background=(counters.listing.upkeep.running, Presence(pipeline, replica=replica).running),
    )


def _in_memory(settings: Settings) -> Stores:
    ttl = settings.idempotency_ttl
    counters = MemoryCounterStore(idempotency_ttl=ttl, series_retention=settings.series_retention)
    return Stores(
        counters=counters,
        watch=MemoryWatch(counters),
        uniques=MemoryUniquesStore(idempotency_ttl=ttl),
        transfer=MemoryTransferStore(counters.counters, time.monotonic),
        tally=MemoryTally(replica=settings.replica_name),
    )
