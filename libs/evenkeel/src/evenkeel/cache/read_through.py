"""Read-through: process memory, then Redis, then the database. Each tier is filled from the next one.

docs/coherence.md says why a change is not overlooked for long.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

from evenkeel.cache.aliases import Aliases
from evenkeel.cache.answer import Answer, Found, Read
from evenkeel.cache.cache_status import TierStatus
from evenkeel.cache.database_breaker import PATIENCE
from evenkeel.cache.distrust import Distrust
from evenkeel.cache.entry import Entry, TierUnavailable
from evenkeel.cache.errors import LoadError, NotAnswering
from evenkeel.cache.filling import Filled, Filler
from evenkeel.cache.flights import Flights, Terms
from evenkeel.cache.heartbeats import CacheHeartbeats
from evenkeel.cache.invalidating import Invalidating
from evenkeel.cache.memory_tier import MemoryHit, MemoryTier, Reservation
from evenkeel.cache.metrics import CacheMetrics
from evenkeel.cache.own_writes import OwnWrites
from evenkeel.cache.redis_tier import Lookup, RedisTier
from evenkeel.cache.standing_in import StandIn

log = logging.getLogger(__name__)

R = TypeVar("R")

STAND_IN_AFTER = 1.0
"""Seconds that a reader waits for the database before a stale entry is served; the load goes on for later readers."""


class ReadThrough(Generic[R]):
    """Coherent reads of one table's rows. `evenkeel.cache.open_cache` makes it."""

    def __init__(
        self,
        *,
        memory: MemoryTier[R] | None,
        redis: RedisTier | None,
        filler: Filler,
        metrics: CacheMetrics,
        distrust: Distrust | None = None,
        aliases: Aliases | None = None,
        heartbeats: CacheHeartbeats | None = None,
    ) -> None:
        self.heartbeats = heartbeats
        """Of all processes that share the cache; None without a shared Redis."""
        self.aliases = aliases or Aliases(redis=None, keyring=None, ttl=0, memory_entries=0, memory_ttl=0)
        """Keys of rows that are known by another unique column."""
        self._memory = memory
        self._redis = redis
        self._filler = filler
        self._metrics = metrics
        self._flights: Flights[Filled] = Flights(filler.fill)
        self._refreshes: Flights[Filled] = Flights(filler.refresh)
        self._written = OwnWrites()
        self._invalidating = Invalidating(redis) if redis is not None else None
        self._stand_in = StandIn(memory, metrics)
        self._distrust = distrust

    @property
    def distrust(self) -> str | None:
        """Why nothing in the cache may be trusted now, if the database itself is the reason."""
        return self._distrust.reason if self._distrust is not None else None

    def peek(self, key: str) -> MemoryHit[R] | None:
        """The entry if this process has it in memory and may serve it as fresh."""
        return self._memory.peek(key) if self._memory is not None else None

    async def get(self, key: str, *, min_version: int = 0, from_database: bool = False) -> Answer[R]:
        """The row of `key`, at `min_version` or later if the database has that. `from_database` passes all tiers by.

        Raises a LoadError if the database fails, has no room for the reader, or does not answer in time, and no stale
        entry can stand in. Also raises whatever else `load` raises.
        """
        read = Read(min_version)
        if from_database:
            tiers = [tier.name for tier in (self._memory, self._redis) if tier is not None]
            read.statuses += [TierStatus(tier, forwarded="request") for tier in tiers]
            found = await self._query(read, [key])
            return Answer(*found[key], read.statuses)
        if self._memory is not None:
            hit = self._memory.peek(key)
            if hit is not None and hit.entry.version >= min_version:
                return Answer(hit.entry, "memory", [TierStatus("memory", ttl=hit.ttl)], hit.ready)
            if hit is not None:
                read.statuses.append(TierStatus("memory", forwarded="request", detail="min-version"))
            else:
                read.statuses.append(self._missed(self._memory, 1))
        try:
            found = await self._walk(read, [key])
        except LoadError as error:
            stale = self._stand_in.serve(read, key)
            if stale is None:
                raise
            log.debug("the database fails, a stale entry is served", extra={"reason": repr(error)})
            found = {key: stale}
        return Answer(*found[key], read.statuses)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Entry]:
        """The rows that exist, with one round trip per tier and one query for what no tier has.

        Raises what `get` raises. No stale entry stands in for a failing database, because it could not be marked.
        """
        found: dict[str, Entry] = {}
        if self._memory is not None:
            found = {key: hit.entry for key in keys if (hit := self._memory.peek(key)) is not None}
        missing = list(dict.fromkeys(key for key in keys if key not in found))
        if missing:
            read = Read(marked=False)
            if self._memory is not None:
                read.statuses.append(self._missed(self._memory, len(missing)))
            found |= {key: entry for key, (entry, _) in (await self._walk(read, missing)).items()}
        return {key: entry for key, entry in found.items() if entry.exists}

    async def invalidate(self, keys: Iterable[str]) -> None:
        """Forget the rows in all tiers. Call it after each commit, and before the answer to the writer.

        Call it as well if the outcome of the commit is unknown. Never raises: if Redis does not answer, the relay
        invalidates the keys, and until then this process reads them from the database.
        """
        keys = list(keys)
        self._forget(keys)
        if self._invalidating is None:
            return
        confirmed = await self._invalidating.invalidate(keys)
        for key in keys:
            self._written.note(key, confirmed=confirmed)
        self._metrics.invalidate("write", len(keys))
        # A read in between may have put into memory what Redis had until then.
        self._forget(keys)

    def forget_loads(self, keys: AbstractSet[str] | None) -> None:
        """The keys (None: any) have changed: later readers do not join loads that began before."""
        self._flights.forget(keys)

    async def close(self) -> None:
        """Give up the loads under way, and wait for the invalidations."""
        await self._flights.close()
        await self._refreshes.close()
        if self._invalidating is not None:
            await self._invalidating.close()

    def _forget(self, keys: Iterable[str]) -> None:
        changes = dict.fromkeys(keys)
        self._flights.forget(changes.keys())
        if self._memory is not None:
            self._memory.drop(changes)

    def _missed(self, memory: MemoryTier[R], count: int) -> TierStatus:
        """Count keys that memory does not have, or may not serve."""
        if memory.trusted:
            self._metrics.memory_miss(count)
            return TierStatus("memory", forwarded="uri-miss")
        self._metrics.memory_distrusted(count)
        return TierStatus("memory", forwarded="bypass", detail="distrusted")

    async def _walk(self, read: Read, keys: list[str]) -> dict[str, Found]:
        """The tiers behind memory, in their order, for keys that memory does not have."""
        redis = self._redis
        if redis is None:
            return await self._load(read, keys)
        status = TierStatus("redis")
        read.statuses.append(status)
        found: dict[str, Found] = {}
        written = self._written.among(keys)
        if written and (unconfirmed := [key for key, confirmed in written.items() if not confirmed]):
            status.forwarded, status.detail = "bypass", "not-invalidated"
            found = await self._query(read, unconfirmed)
            keys = [key for key in keys if key not in found]
            if not keys:
                return found
        with self._filler.reserve(keys) as reservations:
            try:
                lookup = await redis.read(keys, from_primary=bool(written))
            except TierUnavailable as error:
                self._metrics.redis_unavailable(len(keys))
                log.debug("Redis does not answer", extra={"reason": str(error)})
                status.forwarded, status.detail = "bypass", "unavailable"
                lookup = Lookup({}, trusted=False)
            else:
                hits = self._hits(read, keys, lookup, status, reservations)
                found = found | hits if found else hits
                if len(hits) == len(keys):
                    return found
        read.known = lookup.hits
        missing = [key for key in keys if key not in found]
        if lookup.trusted and (old := [key for key in missing if key in lookup.hits]):
            found |= await self._newer(read, old)
            missing = [key for key in missing if key not in found]
        return found | await self._load(read, missing, past_redis=not lookup.trusted, unreadable=lookup.unreadable)

    def _hits(
        self,
        read: Read,
        keys: Sequence[str],
        lookup: Lookup,
        status: TierStatus,
        reservations: Mapping[str, Reservation],
    ) -> dict[str, Found]:
        """Those of Redis that may answer; the others are counted as misses."""
        if not lookup.trusted:
            self._metrics.redis_distrusted(len(keys))
            status.forwarded, status.detail = "bypass", "distrusted"
            return {}
        found: dict[str, Found] = {}
        stale = []
        for key, hit in lookup.hits.items():
            if hit.entry.version < read.min_version:
                continue
            found[key] = hit.entry, "redis"
            status.ttl = hit.ttl
            if not hit.fresh:
                stale.append(key)
            elif self._filler.remember(key, hit.entry, hit.ttl, reservations):
                read.statuses[0].stored = True
        if fresh := len(found) - len(stale):
            self._metrics.redis_hit(fresh)
        if stale:
            self._metrics.redis_stale(len(stale))
            status.detail = "revalidating"
            self._refresh(stale)
        if missing := len(keys) - len(found):
            self._metrics.redis_miss(missing)
            status.forwarded = "uri-miss"
            if len(lookup.hits) > len(found):
                status.forwarded, status.detail = "request", "min-version"
        return found

    async def _query(self, read: Read, keys: Sequence[str]) -> dict[str, Found]:
        """The rows as the database has them. No tier keeps them."""
        rows = await self._filler.query(keys, deadline=read.deadline)
        return {key: (entry, "database") for key, entry in rows.items()}

    async def _newer(self, read: Read, keys: Sequence[str]) -> dict[str, Found]:
        """The rows of keys of which Redis has only older versions than the read permits."""
        found = await self._query(read, keys)
        if changed := [key for key, (entry, _) in found.items() if entry.version >= read.min_version]:
            await self.invalidate(changed)  # the tiers are known to be behind
        return found

    async def _load(
        self, read: Read, keys: Sequence[str], *, past_redis: bool = False, unreadable: frozenset[str] = frozenset()
    ) -> dict[str, Found]:
        """The rows by fills, of this read or of others that are under way."""
        found: dict[str, Found] = {}
        while missing := [key for key in keys if key not in found]:
            if self._filler.database.is_open:  # then no fill begins for what a stale entry can answer
                found |= {key: stale for key in missing if (stale := self._stand_in.serve(read, key)) is not None}
                missing = [key for key in missing if key not in found]
            terms = Terms(read.deadline, past_redis, unreadable)
            flights = {key: self._flights.join(key, terms) for key in missing}
            for key, (fill, collapsed) in flights.items():
                if (landed := await self._landed(read, key, fill, collapsed=collapsed)) is not None:
                    found[key] = landed
        return found

    async def _landed(self, read: Read, key: str, fill: "asyncio.Future[Filled]", *, collapsed: bool) -> Found | None:
        """What the fill finds, or a stale entry if that takes long; None: another fill is needed."""
        if self._stand_in.find(read, key) is not None:
            await self._filler.database.wait(fill, STAND_IN_AFTER)
            # The stale entry may have been invalidated meanwhile.
            if not fill.done() and (stale := self._stand_in.serve(read, key)) is not None:
                return stale
        try:
            filled = await fill
        except NotAnswering:
            if not collapsed or time.monotonic() >= read.deadline:
                raise
            return None  # it was the fill of an earlier reader, whose time was up sooner
        if collapsed:
            self._metrics.collapse()
        # Another reader's fill, in this process or another one, may have begun before that version existed.
        if filled.entry.version < read.min_version and (collapsed or filled.source != "database"):
            return (await self._query(read, [key]))[key]
        for status in read.statuses:
            status.stored = status.tier in filled.stored
            status.collapsed = collapsed
        return filled.entry, filled.source

    def _refresh(self, keys: Sequence[str]) -> None:
        """Fill again in the background; the stale entries answer until then."""
        terms = Terms(time.monotonic() + PATIENCE)
        for key in keys:
            if key not in self._refreshes:
                self._refreshes.join(key, terms)
