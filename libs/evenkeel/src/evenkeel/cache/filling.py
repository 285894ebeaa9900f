"""Fills: loading rows that no tier has, and storing them in the tiers.

Leases in Redis and reservations in memory keep a row out that has changed since it was loaded.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from evenkeel.cache.database_breaker import SLOW, DatabaseBreaker
from evenkeel.cache.entry import ABSENT, Entry, Hit, TierUnavailable
from evenkeel.cache.errors import NotAnswering
from evenkeel.cache.flights import Terms
from evenkeel.cache.gate import Gate
from evenkeel.cache.memory_tier import MemoryTier, Reservation
from evenkeel.cache.metrics import CacheMetrics
from evenkeel.cache.redis_tier import LEASE, Lease, Lifetime, RedisTier

log = logging.getLogger(__name__)

Load = Callable[[list[str]], Awaitable[Mapping[str, Entry]]]
"""Reads rows from the database, with one query for all keys. A missing row is missing from the result.

Raises a LoadError if the database does not answer. Any other error is a fault, for which no stale entry stands in."""

Source = Literal["memory", "redis", "database"]

NEGATIVE_TTL = 5.0
"""Seconds that a missing row is remembered at most."""

JITTER = 0.1
"""Entries live up to this share less than the TTL. So entries that were stored together expire at different times."""

PATIENCE = LEASE + 1
"""Seconds that a reader waits for the fill of another process before it queries the database itself. If the holder of
the lease dies, the lease ends sooner, and one of the waiting readers gets the next one."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.2
"""Seconds between two checks whether the other fill has ended."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a fill found for one key, where, and the tiers that keep it now."""

    entry: Entry
    source: Source
    stored: frozenset[str]


@dataclass(slots=True)
class _Turn:
    """The result of one pass through the gate."""

    hits: dict[str, Hit] = field(default_factory=dict)
    """Entries that other fills have stored meanwhile."""
    rows: dict[str, Entry] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    """Keys that other processes are filling."""


class Filler:
    """One for each cache of a process."""

    def __init__(
        self,
        *,
        load: Load,
        gate: Gate,
        memory: MemoryTier[Any] | None,
        redis: RedisTier | None,
        ttl: float,
        stale_ttl: float,
        metrics: CacheMetrics,
        database: DatabaseBreaker | None = None,
    ) -> None:
        """Entries are fresh for `ttl` seconds. They are kept for `stale_ttl` seconds, if that is longer."""
        self._load = load
        self._gate = gate
        self._memory = memory
        self._redis = redis
        self._ttl = ttl
        self._stale_ttl = stale_ttl
        self._metrics = metrics
        self.database = database or DatabaseBreaker()
        metrics.gate_waiting.set_function(lambda: gate.waiting)

    async def query(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """The rows as the database has them now; ABSENT for a missing row. For `deadline`, see DatabaseBreaker.run."""

        async def work() -> dict[str, Entry]:
            async with self._gate.passed(len(keys)):
                return await self._rows(keys)

        return await self.database.run(work, repeatable=True, deadline=deadline)

    def reserve(self, keys: Sequence[str]) -> AbstractContextManager[Mapping[str, Reservation]]:
        """Reservations in memory, if there is such a tier, for the rows that the block finds."""
        return self._memory.reserve(keys) if self._memory is not None else nullcontext({})

    def remember(self, key: str, entry: Entry, ttl: float, reservations: Mapping[str, Reservation]) -> bool:
        """Put the entry into memory. True if memory keeps it."""
        return self._memory is not None and self._memory.put(key, entry, ttl, reservations[key]) is not None

    async def fill(self, keys: Sequence[str], terms: Terms) -> AsyncIterator[dict[str, Filled]]:
        """The rows of all `keys`, part by part. A row comes from Redis if another process stores it first.

        Raises what `load` and DatabaseBreaker.run raise.
        """
        with self.reserve(keys) as reservations:
            if self._redis is None or terms.past_redis:
                yield self._remembered(await self.query(keys, deadline=terms.deadline), reservations)
                return
            redis, asked = self._redis, list(keys)
            give_up = time.monotonic() + PATIENCE
            waited: set[str] = set()
            while asked:
                turn = await self._take_turn(redis, asked, terms.unreadable, deadline=terms.deadline)
                found = {}
                for key, hit in turn.hits.items():
                    kept = self.remember(key, hit.entry, hit.ttl, reservations)
                    found[key] = Filled(hit.entry, "redis", frozenset({"memory"} if kept else ()))
                self._metrics.lease_wait(len(waited & turn.hits.keys()), served=True)
                found |= await self._stored(redis, turn, reservations)
                if found:
                    yield found
                asked = turn.held
                waited.update(asked)
                if asked and not await self._wait_for_others(redis, asked, give_up, terms.deadline):
                    self._metrics.lease_wait(len(asked), served=False)
                    yield self._remembered(await self.query(asked, deadline=terms.deadline), reservations)
                    return

    async def refresh(self, keys: Sequence[str], terms: Terms) -> AsyncIterator[dict[str, Filled]]:
        """Fill those of the keys that no other process is filling."""
        assert self._redis is not None  # noqa: S101 (only what is in Redis can be stale)
        with self.reserve(keys) as reservations:
            turn = await self._take_turn(self._redis, keys, terms.unreadable, leased_only=True, deadline=terms.deadline)
            yield await self._stored(self._redis, turn, reservations)

    async def _take_turn(
        self,
        redis: RedisTier,
        keys: Sequence[str],
        unreadable: AbstractSet[str],
        *,
        leased_only: bool = False,
        deadline: float,
    ) -> _Turn:
        """Pass the gate, take the leases, load the rows. A lease taken earlier could end while it waits at the gate.

        If Redis gives no leases, the rows are loaded without, unless `leased_only` is set.
        """

        async def work() -> _Turn:
            async with self._gate.passed(len(keys)):
                turn, wanted = await self._lease(redis, keys, unreadable)
                if leased_only:
                    wanted = [key for key in wanted if key in turn.leases]
                if wanted:
                    try:
                        turn.rows = await self._rows(wanted)
                    except BaseException:
                        redis.give_back(turn.leases)
                        raise
                return turn

        return await self.database.run(work, repeatable=True, deadline=deadline)

    async def _lease(
        self, redis: RedisTier, keys: Sequence[str], unreadable: AbstractSet[str]
    ) -> tuple[_Turn, list[str]]:
        """A turn with entries that others have stored, and with leases; and the keys to load."""
        turn, wanted, asked, unusable = _Turn(), list[str](), list(keys), set(unreadable)
        try:
            while asked:
                answers = await redis.lease(asked, unusable)
                if answers is None:
                    return turn, [*wanted, *asked]
                asked = []
                for key, answer in answers.items():
                    if isinstance(answer, Hit):
                        turn.hits[key] = answer
                    elif isinstance(answer, Lease):
                        turn.leases[key] = answer
                        wanted.append(key)
                    elif answer == "unusable":
                        unusable.add(key)
                        asked.append(key)
                    elif key in unusable:
                        # The other fill may store an entry that is of no use here again, so do not wait for it.
                        wanted.append(key)
                    else:
                        turn.held.append(key)
        except TierUnavailable as error:
            log.debug("no leases", extra={"reason": str(error)})
            wanted += [key for key in asked if key not in turn.leases]
        return turn, wanted

    async def _wait_for_others(self, redis: RedisTier, keys: Sequence[str], give_up: float, deadline: float) -> bool:
        """Wait, outside the gate, until one of the fills has ended. False if they have taken too long."""
        pause = FIRST_PAUSE
        slow = time.monotonic() + SLOW
        while (now := time.monotonic()) < give_up:
            if now > slow:  # perhaps the others wait for the database
                self.database.suspect()
                slow = now + SLOW
            if self.database.is_open and time.monotonic() >= deadline:
                raise NotAnswering("The database does not answer.", begun=False)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
            with contextlib.suppress(TierUnavailable):
                if await redis.held(keys) == frozenset(keys):
                    continue
            return True
        return False

    async def _rows(self, keys: Sequence[str]) -> dict[str, Entry]:
        self._metrics.load()
        rows = await self._load(list(keys))
        return {key: rows.get(key, ABSENT) for key in keys}

    def _remembered(self, rows: Mapping[str, Entry], reservations: Mapping[str, Reservation]) -> dict[str, Filled]:
        """Put the rows into memory alone."""
        found = {}
        for key, entry in rows.items():
            kept = self.remember(key, entry, self._lifetime(entry).fresh, reservations)
            found[key] = Filled(entry, "database", frozenset({"memory"} if kept else ()))
        return found

    async def _stored(
        self, redis: RedisTier, turn: _Turn, reservations: Mapping[str, Reservation]
    ) -> dict[str, Filled]:
        """Store the loaded rows in Redis under their leases, and in memory."""
        lifetimes = {key: self._lifetime(entry) for key, entry in turn.rows.items()}
        stored: set[str] = set()
        if turn.leases:
            with contextlib.suppress(TierUnavailable):
                stored = await redis.store(
                    {key: (lease, turn.rows[key], lifetimes[key]) for key, lease in turn.leases.items()}
                )
        found = {}
        for key, entry in turn.rows.items():
            tiers = {"redis"} if key in stored else set()
            if self.remember(key, entry, lifetimes[key].fresh, reservations):
                tiers.add("memory")
            found[key] = Filled(entry, "database", frozenset(tiers))
        return found

    def _lifetime(self, entry: Entry) -> Lifetime:
        share = 1 - JITTER * random.random()  # noqa: S311 (spreads load, guards nothing)
        if not entry.exists:
            seconds = min(NEGATIVE_TTL, self._ttl) * share
            return Lifetime(seconds, seconds)
        return Lifetime(self._ttl * share, max(self._ttl, self._stale_ttl) * share)
