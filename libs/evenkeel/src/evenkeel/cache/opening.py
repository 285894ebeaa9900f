"""Opens a coherent read-through with all its parts, runs its background tasks, and closes it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from evenkeel.cache.aliases import Aliases
from evenkeel.cache.change_log import ChangeLog
from evenkeel.cache.database_breaker import DatabaseBreaker
from evenkeel.cache.distrust import Distrust
from evenkeel.cache.entry import Entry
from evenkeel.cache.filling import Filler, Load
from evenkeel.cache.gate import Gate
from evenkeel.cache.heartbeats import CacheHeartbeats
from evenkeel.cache.keyring import KeyRing
from evenkeel.cache.keys import CurrentNames, Names
from evenkeel.cache.log_tail import LogTail
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics, Metrics
from evenkeel.cache.pruning import Pruner
from evenkeel.cache.pulse import Pulse
from evenkeel.cache.read_through import ReadThrough
from evenkeel.cache.redis_tier import RedisTier
from evenkeel.cache.relay import Relay
from evenkeel.cache.sealing import Sealing
from evenkeel.cache.tracking import Tracking
from evenkeel.tasks.background import running

R = TypeVar("R")

FIRST_TRUST = 1.0
"""Seconds to wait at most, when a cache is opened, until a tier may be trusted. Reads work without trust, too."""


@dataclass(frozen=True, slots=True)
class Memory(Generic[R]):
    """The tier in the process: its bounds, and what hits have beside their entries."""

    prepare: Callable[[Entry], R]
    """Runs once for each entry. Hits have its result as `ready`."""
    max_entries: int = 10_000
    ttl: float = 60.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class SharedRedis:
    """The tier that all replicas share. Other keys in the same Redis database are never touched."""

    primary: Redis
    keyring: KeyRing
    reader: Redis | None = None
    """A replica of the primary to read from."""


@asynccontextmanager
async def open_cache(
    namespace: str,
    *,
    load: Load,
    changes: ChangeLog,
    memory: Memory[R] | None = None,
    redis: SharedRedis | None = None,
    gate: Gate | None = None,
    database: DatabaseBreaker | None = None,
    shape: str = "",
    ttl: float = 600.0,
    stale_ttl: float = 3600.0,
    log_retention: float = 600.0,
    metrics: Metrics | None = None,
) -> AsyncIterator[ReadThrough[R]]:
    """Coherent reads of rows. `load` reads the rows, and `changes` is the log of their changes.

    `namespace` begins all names in Redis. Entries are fresh for `ttl` seconds. Until `stale_ttl` they are served while
    one reader refreshes them. The change log is kept for `log_retention` seconds at least. Without a `gate`, 8 loads
    run at a time and 1000 wait. `database` is the breaker of the database; the caller's other work should use it, too.
    `shape` is any text that changes with the payloads that `load` makes: entries of another shape are loaded anew.
    If a server does not answer, opening still succeeds, and reads go to the database until it answers.
    """
    own = CacheMetrics(metrics or Metrics(CollectorRegistry()), namespace)
    current = CurrentNames(namespace)
    distrust = Distrust(own)
    pulse = Pulse()
    async with AsyncExitStack() as stack:
        memory_tier = redis_tier = None
        if memory is not None:
            memory_tier = MemoryTier(
                max_entries=memory.max_entries, ttl=memory.ttl, prepare=memory.prepare, metrics=own
            )
        if redis is not None:
            redis_tier = RedisTier(
                primary=redis.primary,
                reader=redis.reader,
                current=current,
                sealing=Sealing(redis.keyring, own, shape),
                metrics=own,
            )
            stack.push_async_callback(redis_tier.close)
        filler = Filler(
            load=load,
            gate=gate or Gate(width=8, queue=1000),
            memory=memory_tier,
            redis=redis_tier,
            ttl=ttl,
            stale_ttl=stale_ttl,
            metrics=own,
            database=database,
        )
        aliases = Aliases(
            redis=redis_tier,
            keyring=redis.keyring if redis is not None else None,
            ttl=ttl,
            memory_entries=memory.max_entries if memory is not None else 0,
            memory_ttl=memory.ttl if memory is not None else 0,
        )
        cache = ReadThrough(
            memory=memory_tier,
            redis=redis_tier,
            filler=filler,
            metrics=own,
            distrust=distrust,
            aliases=aliases,
            heartbeats=CacheHeartbeats(redis.primary, current, pulse) if redis is not None else None,
        )
        stack.push_async_callback(cache.close)
        # Whatever the tiers are: triggers log every change.
        await stack.enter_async_context(running(Pruner(changes, retention=log_retention).run()))

        def begin_anew(before: Names | None, now: Names | None) -> None:
            if memory_tier is not None:
                if before is None or now is None or (before.identity, before.base) != (now.identity, now.base):
                    memory_tier.clear("new epoch")
                else:
                    memory_tier.drop_where(now.renames(before))
            cache.forget_loads(None)
            aliases.clear()

        current.on_change.append(begin_anew)
        async with _at_most(FIRST_TRUST):
            if redis is not None:
                relay = Relay(
                    changes=changes,
                    primary=redis.primary,
                    current=current,
                    metrics=own,
                    distrust=distrust,
                    pulse=pulse,
                )
                stack.push_async_callback(relay.release)
                await stack.enter_async_context(running(relay.run()))
                await relay.passed.wait()
        async with _at_most(FIRST_TRUST):
            if memory_tier is not None:
                feed: Tracking | LogTail
                if redis is not None:
                    feed = Tracking(
                        redis.reader or redis.primary,
                        current,
                        memory_tier,
                        own,
                        cache.forget_loads,
                        pulse=pulse if redis.reader is None else None,
                    )
                else:
                    feed = LogTail(changes, memory_tier, cache.forget_loads, distrust)
                await stack.enter_async_context(running(feed.run()))
                await memory_tier.first_trust.wait()
        yield cache


@asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    """Leave the block after so long, done or not."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            yield
