"""Read-through: memory, then Redis, then the database, each filled by what the next one knows.

docs/coherence.md tells why it never serves for long what has been changed.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from evenkeel.cache.aliases import Aliases
from evenkeel.cache.answer import Answer, Read
from evenkeel.cache.cache_status import TierStatus
from evenkeel.cache.database_breaker import PATIENCE
from evenkeel.cache.distrust import Distrust
from evenkeel.cache.entry import Entry, Hit, TierUnavailable
from evenkeel.cache.errors import LoadError, NotAnswering
from evenkeel.cache.filling import Filled, Filler
from evenkeel.cache.flights import Flights
from evenkeel.cache.memory_tier import MemoryHit, MemoryTier, Reservation
from evenkeel.cache.metrics import CacheMetrics
from evenkeel.cache.own_writes import OwnWrites
from evenkeel.cache.redis_tier import Lookup, RedisTier
from evenkeel.cache.standing_in import StandIn
from evenkeel.cache.telling import Telling

log = logging.getLogger(__name__)

R = TypeVar("R")


STAND_IN_AFTER = 1.0
"""Seconds that a reader waits for the database, if something stale is at hand; the load goes on for later readers."""


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
    ) -> None:
        self.aliases = aliases or Aliases(redis=None, keyring=None, ttl=0, memory_entries=0, memory_ttl=0)
        """Keys of rows that are known by another unique column."""
        self._memory = memory
        self._redis = redis
        self._filler = filler
        self._metrics = metrics
        self._flights: Flights[Filled] = Flights()
        self._refreshes: Flights[Filled] = Flights()
        # Keys written a moment ago, and whether Redis has been told.
        self._written = OwnWrites()
        self._telling = Telling(redis) if redis is not None else None
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
        """The row of `key`, at `min_version` or later if the database has that; `from_database` asks no tier.

        Raises a LoadError where the database fails, there is no room to wait for it, or it does not answer, and no tier
        has anything that could stand in; and whatever else `load` raises.
        """
        read = Read(key, min_version)
        if from_database:
            read.statuses = [TierStatus(tier.name, forwarded="request") for tier in (self._memory, self._redis) if tier]
            return await self._ask_database(read)
        if self._memory is not None:
            hit = self._memory.peek(key)
            if hit is not None and hit.entry.version >= min_version:
                return Answer(hit.entry, "memory", [TierStatus("memory", ttl=hit.ttl)], hit.ready)
            read.statuses.append(self._missed_memory(self._memory, hit))
        try:
            if self._redis is None:
                return await self._fill(read)
            return await self._ask_redis(self._redis, read)
        except LoadError as error:
            answer = self._stand_in.answer(read)
            if answer is None:
                raise
            log.debug("the database fails, a stale entry is served", extra={"reason": repr(error)})
            return answer

    async def get_many(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Those rows that exist, with one round trip per tier and one query for what no tier has.

        Raises as `get` does; nothing stale stands in here, where it could not be marked.
        """
        found: dict[str, Entry] = {}
        if self._memory is not None:
            found = {key: hit.entry for key in keys if (hit := self._memory.peek(key)) is not None}
            missed = self._metrics.memory_miss if self._memory.trusted else self._metrics.memory_distrusted
            missed(len(keys) - len(found))
        missing = [key for key in keys if key not in found]
        if missing:
            found |= await self._get_many_behind_memory(missing)
        return {key: entry for key, entry in found.items() if entry.exists}

    async def invalidate(self, keys: Iterable[str]) -> None:
        """Forget the rows everywhere; call it after the commit, also one with unknown outcome, and before the answer.

        Never raises: where Redis cannot be told, the relay will tell it, and until then this process asks the
        database.
        """
        keys = list(keys)
        self._forget(keys)
        if self._telling is None:
            return
        told = await self._telling.tell(keys)
        for key in keys:
            self._written.note(key, told=told)
        self._metrics.invalidate("write", len(keys))
        # A read in between may have found, and put into memory, what Redis had until then.
        self._forget(keys)

    def forget_loads(self, key: str | None) -> None:
        """The key (None: any) has changed: who reads it from now on joins no load that began before."""
        self._flights.forget(key)

    async def close(self) -> None:
        """Give up the loads under way; invalidations are finished."""
        await self._flights.close()
        await self._refreshes.close()
        if self._telling is not None:
            await self._telling.close()

    def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._flights.forget(key)
            if self._memory is not None:
                self._memory.drop(key)

    def _missed_memory(self, memory: MemoryTier[R], hit: MemoryHit[R] | None) -> TierStatus:
        if hit is not None:
            return TierStatus("memory", forwarded="request", detail="min-version")
        if memory.trusted:
            self._metrics.memory_miss()
            return TierStatus("memory", forwarded="uri-miss")
        self._metrics.memory_distrusted()
        return TierStatus("memory", forwarded="bypass", detail="distrusted")

    async def _ask_redis(self, redis: RedisTier, read: Read) -> Answer[R]:
        status = TierStatus("redis")
        read.statuses.append(status)
        told = self._written.told(read.key)
        if told is False:
            status.forwarded, status.detail = "bypass", "not-invalidated"
            return await self._ask_database(read)
        with self._filler.reserve([read.key]) as reservations:
            try:
                lookup = await redis.read([read.key], from_primary=told is not None)
            except TierUnavailable as error:
                self._metrics.redis_unavailable()
                log.debug("Redis does not answer", extra={"reason": str(error)})
                status.forwarded, status.detail = "bypass", "unavailable"
                return await self._fill(read, past_redis=True)
            read.known = lookup.hits.get(read.key)
            hit = self._judge(lookup, read, status)
            if hit is not None:
                return self._redis_answer(read, hit, reservations)
        if status.detail == "min-version":
            answer = await self._ask_database(read)
            if answer.entry.version >= read.min_version:
                await self.invalidate([read.key])  # what the tiers hold is known to be old
            return answer
        return await self._fill(read, past_redis=not lookup.trusted, unreadable=lookup.unreadable)

    def _judge(self, lookup: Lookup, read: Read, status: TierStatus) -> Hit | None:
        """The hit, if it may answer; the status tells what became of it."""
        hit = lookup.hits.get(read.key)
        if not lookup.trusted:
            self._metrics.redis_distrusted()
            status.forwarded, status.detail = "bypass", "distrusted"
            return None
        if hit is None or hit.entry.version < read.min_version:
            self._metrics.redis_miss()
            status.forwarded = "uri-miss"
            if hit is not None:
                status.forwarded, status.detail = "request", "min-version"
            return None
        status.ttl = hit.ttl
        if hit.fresh:
            self._metrics.redis_hit()
        else:
            self._metrics.redis_stale()
            status.detail = "revalidating"
        return hit

    def _redis_answer(self, read: Read, hit: Hit, reservations: Mapping[str, Reservation]) -> Answer[R]:
        if not hit.fresh:
            self._refresh([read.key])
        elif self._filler.remember(read.key, hit.entry, hit.ttl, reservations):
            read.statuses[0].stored = True
        return Answer(hit.entry, "redis", read.statuses)

    async def _get_many_behind_memory(self, keys: list[str]) -> dict[str, Entry]:
        if self._redis is None:
            return await self._fill_many(keys, past_redis=True)
        told = {self._written.told(key) for key in keys}
        if False in told:
            return await self._filler.query(keys)
        with self._filler.reserve(keys) as reservations:
            try:
                lookup = await self._redis.read(keys, from_primary=True in told)
            except TierUnavailable:
                self._metrics.redis_unavailable(len(keys))
                return await self._fill_many(keys, past_redis=True)
            if not lookup.trusted:
                self._metrics.redis_distrusted(len(keys))
                return await self._fill_many(keys, past_redis=True)
            fresh = {key: hit for key, hit in lookup.hits.items() if hit.fresh}
            for key, hit in fresh.items():
                self._filler.remember(key, hit.entry, hit.ttl, reservations)
        self._metrics.redis_hit(len(fresh))
        self._metrics.redis_stale(len(lookup.hits) - len(fresh))
        self._metrics.redis_miss(len(keys) - len(lookup.hits))
        if stale := [key for key in lookup.hits if key not in fresh]:
            self._refresh(stale)
        found = {key: hit.entry for key, hit in lookup.hits.items()}
        if missing := [key for key in keys if key not in found]:
            found |= await self._fill_many(missing, unreadable=lookup.unreadable)
        return found

    async def _ask_database(self, read: Read) -> Answer[R]:
        """Past all tiers, leaving nothing in them."""
        rows = await self._filler.query([read.key], deadline=read.deadline)
        return Answer(rows[read.key], "database", read.statuses)

    async def _fill(
        self, read: Read, *, past_redis: bool = False, unreadable: frozenset[str] = frozenset()
    ) -> Answer[R]:
        """Load the key, or share the load of somebody who asked before."""
        database = self._filler.database
        if database.is_open and (answer := self._stand_in.answer(read)) is not None:
            return answer
        flights = self._flights.join(
            [read.key],
            lambda keys: self._filler.fill(keys, past_redis=past_redis, unreadable=unreadable, deadline=read.deadline),
        )
        load, collapsed = flights[read.key]
        if self._stand_in.find(read) is not None:
            await database.wait(load, STAND_IN_AFTER)
            # What would have stood in may have been invalidated meanwhile.
            if not load.done() and (answer := self._stand_in.answer(read)) is not None:
                return answer
        try:
            filled = (await asyncio.shield(load))[read.key]
        except NotAnswering:
            if not collapsed or time.monotonic() >= read.deadline:
                raise
            # Whose load it was came earlier, and had less time left.
            return await self._fill(read, past_redis=past_redis, unreadable=unreadable)
        if collapsed:
            self._metrics.collapse()
        # Somebody else's load, in this process or in another one, may have begun before that version was there.
        if filled.entry.version < read.min_version and (collapsed or filled.source != "database"):
            return await self._ask_database(read)
        for status in read.statuses:
            status.stored = status.tier in filled.stored
            status.collapsed = collapsed
        return Answer(filled.entry, filled.source, read.statuses)

    async def _fill_many(
        self, keys: Sequence[str], *, past_redis: bool = False, unreadable: frozenset[str] = frozenset()
    ) -> dict[str, Entry]:
        deadline = time.monotonic() + PATIENCE
        found: dict[str, Entry] = {}
        while missing := [key for key in keys if key not in found]:
            flights = self._flights.join(
                missing,
                lambda keys: self._filler.fill(keys, past_redis=past_redis, unreadable=unreadable, deadline=deadline),
            )
            self._metrics.collapse(sum(collapsed for _, collapsed in flights.values()))
            for key, (load, collapsed) in flights.items():
                try:
                    found[key] = (await asyncio.shield(load))[key].entry
                except NotAnswering:
                    if not collapsed or time.monotonic() >= deadline:
                        raise
        return found

    def _refresh(self, keys: Sequence[str]) -> None:
        """In the background; the stale entries serve until it is done."""
        keys = [key for key in keys if key not in self._refreshes]
        if keys:
            self._refreshes.join(keys, self._filler.refresh)
