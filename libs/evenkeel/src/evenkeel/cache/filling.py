"""Loading what no tier has, and leaving it in the tiers: by the leases of Redis and the reservations of memory."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from evenkeel.cache.entry import ABSENT, Entry, Hit, TierUnavailable
from evenkeel.cache.gate import Gate
from evenkeel.cache.memory import MemoryTier, Reservation
from evenkeel.cache.metrics import CacheMetrics
from evenkeel.cache.redis import LEASE, Lease, Lifetime, RedisTier

log = logging.getLogger(__name__)

Load = Callable[[list[str]], Awaitable[Mapping[str, Entry]]]
"""Reads rows from the database, one query for all keys; a missing row is missing from the result."""

Source = Literal["memory", "redis", "database"]

NEGATIVE_TTL = 5.0
"""Seconds that a missing row is remembered at most."""

JITTER = 0.1
"""Entries live up to this share less than the TTL, so that those filled together do not all expire together."""

PATIENCE = LEASE + 1
"""Seconds that a reader waits for another one's fill before it asks the database itself. A lease whose holder has died
ends sooner, and one of those who wait gets it."""

FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.2
"""Seconds between two looks whether the other fill has landed."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a fill has found, where, and the tiers that keep it now."""

    entry: Entry
    source: Source
    stored: frozenset[str]


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
    ) -> None:
        """Entries are fresh for `ttl` seconds and kept for `stale_ttl`, if that is more."""
        self._load = load
        self._gate = gate
        self._memory = memory
        self._redis = redis
        self._ttl = ttl
        self._stale_ttl = stale_ttl
        self._metrics = metrics
        metrics.gate_waiting.set_function(lambda: gate.waiting)

    async def query(self, keys: Sequence[str]) -> dict[str, Entry]:
        """The rows as the database has them now, ABSENT where it has none."""
        async with self._gate.passed():
            self._metrics.load()
            rows = await self._load(list(keys))
        return {key: rows.get(key, ABSENT) for key in keys}

    def reserve(self, keys: Sequence[str]) -> AbstractContextManager[Mapping[str, Reservation]]:
        """Places in memory, if there is such a tier, for what the block will find."""
        return self._memory.reserve(keys) if self._memory is not None else nullcontext({})

    def remember(self, key: str, entry: Entry, ttl: float, reservations: Mapping[str, Reservation]) -> bool:
        """Put the entry into memory; whether it is there now."""
        return self._memory is not None and self._memory.put(key, entry, ttl, reservations[key]) is not None

    async def fill(
        self, keys: Sequence[str], *, past_redis: bool = False, unreadable: frozenset[str] = frozenset()
    ) -> dict[str, Filled]:
        """Every key, from Redis where another fill lands first; `past_redis` because it cannot be trusted now.

        `unreadable` are keys whose entries in Redis cannot be opened. Raises what `load` raises.
        """
        with self.reserve(keys) as reservations:
            if self._redis is None or past_redis:
                return await self._unleased(keys, reservations)
            found: dict[str, Filled] = {}
            deadline = time.monotonic() + PATIENCE
            pause = FIRST_PAUSE
            waited: set[str] = set()
            while missing := [key for key in keys if key not in found]:
                if waited:
                    if time.monotonic() > deadline:
                        self._metrics.lease_wait(len(missing), served=False)
                        return found | await self._unleased(missing, reservations)
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, LONGEST_PAUSE)
                try:
                    answers = await self._redis.lease(missing, unreadable)
                except TierUnavailable as error:
                    log.debug("no leases", extra={"reason": str(error)})
                    answers = None
                if answers is None:
                    return found | await self._unleased(missing, reservations)
                hits = {key: answer for key, answer in answers.items() if isinstance(answer, Hit)}
                for key, hit in hits.items():
                    kept = self.remember(key, hit.entry, hit.ttl, reservations)
                    found[key] = Filled(hit.entry, "redis", frozenset({"memory"} if kept else ()))
                self._metrics.lease_wait(len(waited & hits.keys()), served=True)
                leases = {key: answer for key, answer in answers.items() if isinstance(answer, Lease)}
                if leases:
                    found |= await self._leased(self._redis, leases, reservations)
                waited |= {key for key in missing if key not in found}
            return found

    async def refresh(self, keys: Sequence[str]) -> dict[str, Filled]:
        """Fill those of the keys that nobody else is filling."""
        assert self._redis is not None  # noqa: S101 (only what is in Redis can be stale)
        with contextlib.suppress(TierUnavailable):
            answers = await self._redis.lease(keys, frozenset()) or {}
            leases = {key: answer for key, answer in answers.items() if isinstance(answer, Lease)}
            if leases:
                with self.reserve(keys) as reservations:
                    return await self._leased(self._redis, leases, reservations)
        return {}

    async def _unleased(self, keys: Sequence[str], reservations: Mapping[str, Reservation]) -> dict[str, Filled]:
        """From the database, leaving nothing in Redis."""
        found = {}
        for key, entry in (await self.query(keys)).items():
            kept = self.remember(key, entry, self._lifetime(entry).fresh, reservations)
            found[key] = Filled(entry, "database", frozenset({"memory"} if kept else ()))
        return found

    async def _leased(
        self, redis: RedisTier, leases: Mapping[str, Lease], reservations: Mapping[str, Reservation]
    ) -> dict[str, Filled]:
        try:
            rows = await self.query(list(leases))
        except BaseException:
            with contextlib.suppress(TierUnavailable):
                await redis.give_back(leases)
            raise
        lifetimes = {key: self._lifetime(entry) for key, entry in rows.items()}
        stored: set[str] = set()
        with contextlib.suppress(TierUnavailable):
            stored = await redis.fill({key: (leases[key], rows[key], lifetimes[key]) for key in rows})
        found = {}
        for key, entry in rows.items():
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
