"""Where everything is kept: users in PostgreSQL, what is read often in the cache."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from evenkeel.cache import (
    ChangeLog,
    DatabaseBreaker,
    Gate,
    KeyRing,
    Memory,
    Metrics,
    ReadThrough,
    SharedRedis,
    open_cache,
)
from evenkeel.cache.forgetting import forget_cache
from evenkeel.redis import connect, connect_to_primary, following
from evenkeel.tasks.background import running
from user_api.connections import Connections
from user_api.database import BACKGROUND_CONNECTIONS, PROBE_CONNECTIONS
from user_api.health import check_schema, probe
from user_api.idempotency import Pruner
from user_api.pool import Pool
from user_api.representation import Representation, prepare
from user_api.service import SHAPE, loader
from user_api.settings import Settings
from user_api.store import UserStore

CACHE = "user"
"""The name of the cache in Redis and in metrics."""

CACHE_TIMEOUT = 0.5
"""Seconds after which a cache that does not answer is passed by. PostgreSQL usually answers sooner."""

CACHE_SLOT = "{user}"
"""The hash tag of all of the cache's names. In a Redis Cluster, one node has them all."""

FOR_WRITES = 2
"""Connections of the pool that reads leave free for writes."""

MAX_WAITING_READS = 1000
"""Reads that may wait for PostgreSQL at once. Further ones are answered 503."""


@dataclass(frozen=True, slots=True)
class Stores:
    """What the service keeps its data in."""

    users: UserStore
    cache: ReadThrough[Any]
    database: DatabaseBreaker
    """The breaker that all work in PostgreSQL goes through."""
    checks: dict[str, Callable[[], Awaitable[None]]]
    """What must hold for the replica to be ready."""
    connections: Callable[[], tuple[int, int]]
    """How many connections for requests are in use, and how many there may be."""


@contextlib.asynccontextmanager
async def open_stores(settings: Settings, metrics: Metrics, registry: CollectorRegistry) -> AsyncIterator[Stores]:
    """Those that the settings name, closed at the end. PostgreSQL and Redis need not answer yet."""
    async with contextlib.AsyncExitStack() as stack:
        pool = Pool(settings, size=settings.database_pool_size)
        stack.push_async_callback(pool.close)
        pool.observe(registry)
        # Readiness and the change log have connections of their own. If requests wait for connections, the replica
        # is busy, which is not the same as not ready, and it must still follow the change log.
        background = Connections(settings, size=BACKGROUND_CONNECTIONS, keep_cancelled=True)
        stack.push_async_callback(background.close)
        probing = Connections(settings, size=PROBE_CONNECTIONS, keep_cancelled=True)
        stack.push_async_callback(probing.close)
        database = DatabaseBreaker(probe(probing))
        stack.push_async_callback(database.close)
        users = UserStore(pool, idempotency_ttl=settings.idempotency_ttl)
        # Pruning uses the connections for requests. If requests need them all, pruning can wait.
        await stack.enter_async_context(running(Pruner(pool).run()))
        shared = _shared_redis(settings, stack)
        if shared is not None and shared.reader is not None:
            await stack.enter_async_context(following(shared.reader, shared.primary))
        cache = await stack.enter_async_context(
            open_cache(
                CACHE,
                load=loader(users),
                changes=_changes(background),
                memory=_memory(settings),
                redis=shared,
                gate=Gate(width=max(1, settings.database_pool_size - FOR_WRITES), queue=MAX_WAITING_READS),
                database=database,
                shape=SHAPE,
                ttl=settings.cache_ttl,
                stale_ttl=settings.cache_stale_ttl,
                metrics=metrics,
            )
        )
        yield Stores(
            users=users,
            cache=cache,
            database=database,
            checks={"postgresql": lambda: check_schema(background)},
            connections=lambda: (pool.in_use, settings.database_pool_size),
        )


async def forget(settings: Settings) -> bool:
    """Empty the cache, in Redis and in the memory of all replicas. False if there was nothing to forget."""
    async with contextlib.AsyncExitStack() as stack:
        connections = Connections(settings, size=1)
        stack.push_async_callback(connections.close)
        shared = _shared_redis(settings, stack)
        assert shared is not None  # noqa: S101 (the caller has looked)
        return await forget_cache(CACHE, changes=_changes(connections), primary=shared.primary)


def _changes(connections: Connections) -> ChangeLog:
    return ChangeLog(connections, table="users", log="user_changes")


def _memory(settings: Settings) -> Memory[Representation | None] | None:
    if "memory" not in settings.cache_tiers:
        return None
    return Memory(prepare, max_entries=settings.memory_max_entries, ttl=settings.memory_ttl)


def _shared_redis(settings: Settings, stack: contextlib.AsyncExitStack) -> SharedRedis | None:
    if "redis" not in settings.cache_tiers:
        return None
    name = f"user-api-{settings.replica_name}"
    primary = connect_to_primary(
        _secret(settings.cache_url),
        slot_of=CACHE_SLOT,
        name=name,
        timeout=CACHE_TIMEOUT,
        sentinels=settings.cache_sentinels,
    )
    stack.push_async_callback(primary.aclose)
    reader = None
    if settings.cache_read_url is not None:
        reader = connect(_secret(settings.cache_read_url), name=name, timeout=CACHE_TIMEOUT)
        stack.push_async_callback(reader.aclose)
    return SharedRedis(primary, KeyRing.from_text(_secret(settings.cache_keys)), reader)


def _secret(value: SecretStr | None) -> str:
    """The setting's value, which Settings requires where this is called."""
    assert value is not None  # noqa: S101 (Settings refuses a redis tier without its URL and keys)
    return value.get_secret_value()
