"""Ask the tiers in their order, then the database, and let every tier above the one that answered keep the result."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter

from evenkeel.cache.cache_status import TierStatus
from evenkeel.cache.entry import Entry, Tier, TierUnavailable

log = logging.getLogger(__name__)

Load = Callable[[list[int]], Awaitable[Mapping[int, Entry]]]
"""Reads rows from the database, one query for all keys; a missing row is missing from the result."""

DATABASE = "database"


@dataclass(slots=True)
class Answer:
    """What was found for one key (None: the row does not exist), where, and what each tier did."""

    entry: Entry | None
    source: str
    statuses: list[TierStatus] = field(default_factory=list)


class ReadThrough:
    """A cache-aside read path: readers fill, writers invalidate after they commit.

    A tier that does not answer is passed over, so reads stay right, if slower, without any cache at all.
    """

    def __init__(self, tiers: Sequence[Tier], load: Load, registry: CollectorRegistry) -> None:
        self._tiers = tiers
        self._load = load
        self._reads = Counter("cache_reads", "Keys asked of a tier, by result", ["tier", "result"], registry=registry)

    async def get(self, key: int, *, min_version: int = 0, from_database: bool = False) -> Answer:
        """The row of `key`, at `min_version` or later where a tier answers; `from_database` asks no tier."""
        statuses = []
        for depth, tier in enumerate(self._tiers):
            status = TierStatus(tier.name)
            statuses.append(status)
            if from_database:
                status.forwarded = "request"
                continue
            try:
                hit = (await tier.get([key])).get(key)
            except TierUnavailable as error:
                self._note_unavailable(tier, error)
                status.forwarded, status.detail = "bypass", "unavailable"
                continue
            if hit is None:
                status.forwarded = "uri-miss"
            elif hit.entry.version < min_version:
                status.forwarded, status.detail = "request", "min-version"
            else:
                self._reads.labels(tier.name, "hit").inc()
                status.ttl = hit.ttl
                await self._fill(depth, {key: hit.entry}, statuses)
                return Answer(hit.entry, tier.name, statuses)
            self._reads.labels(tier.name, "miss").inc()
        entry = (await self._load([key])).get(key)
        if entry is not None:
            await self._fill(len(self._tiers), {key: entry}, statuses)
        return Answer(entry, DATABASE, statuses)

    async def get_many(self, keys: Sequence[int]) -> dict[int, Entry]:
        """Those rows that exist, with one round trip per tier and one query for what no tier has."""
        found: dict[int, Entry] = {}
        missing = list(keys)
        for depth, tier in enumerate(self._tiers):
            if not missing:
                break
            try:
                hits = await tier.get(missing)
            except TierUnavailable as error:
                self._note_unavailable(tier, error)
                continue
            self._reads.labels(tier.name, "hit").inc(len(hits))
            self._reads.labels(tier.name, "miss").inc(len(missing) - len(hits))
            entries = {key: hit.entry for key, hit in hits.items()}
            await self._fill(depth, entries)
            found |= entries
            missing = [key for key in missing if key not in hits]
        if missing:
            entries = dict(await self._load(missing))
            await self._fill(len(self._tiers), entries)
            found |= entries
        return found

    async def invalidate(self, key: int) -> None:
        """Forget the row everywhere; call it after the commit and before the answer.

        From the shared tier towards the process, so that no tier can be refilled from one that is still to forget.
        """
        for tier in reversed(self._tiers):
            try:
                await tier.invalidate([key])
            except TierUnavailable as error:
                self._note_unavailable(tier, error)

    async def _fill(self, depth: int, entries: dict[int, Entry], statuses: Sequence[TierStatus] = ()) -> None:
        """Let the tiers above `depth` keep the entries."""
        if not entries:
            return
        for place, tier in enumerate(self._tiers[:depth]):
            try:
                await tier.put(entries)
            except TierUnavailable as error:
                self._note_unavailable(tier, error)
            else:
                if statuses:
                    statuses[place].stored = True

    def _note_unavailable(self, tier: Tier, error: TierUnavailable) -> None:
        self._reads.labels(tier.name, "unavailable").inc()
        log.warning("cache tier does not answer", extra={"tier": tier.name, "reason": str(error)})
