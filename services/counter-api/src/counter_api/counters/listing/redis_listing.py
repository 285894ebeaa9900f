"""Lists and exports of the counters in Redis."""

from collections.abc import AsyncIterator, Sequence

from counter_api.counters.listing.held import Held, held
from counter_api.counters.listing.names import Names
from counter_api.counters.listing.pages import Following, following
from counter_api.counters.listing.upkeep import Upkeep
from counter_api.counters.store import Page
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.problems import Unavailable

EXPORTED = 500
"""Counters read in one step of an export: half a millisecond of Redis' time."""

MOST_GONE = 1000
"""Names without counters that a page skips. If there are more, the page is shorter than `limit`."""

COMPLETE_WITHIN = 5.0
"""Seconds for which a reader waits until the index is complete."""


class RedisListing:
    def __init__(self, pipeline: RedisPipeline, *, most_waiting: int) -> None:
        self._pipeline = pipeline
        self.names = Names(pipeline, most_waiting=most_waiting)
        self.upkeep = Upkeep(pipeline, self.names)

    async def close(self) -> None:
        await self.upkeep.close()
        await self.names.close()

    async def page(self, *, prefix: str, after: str | None, limit: int) -> Page:
        counters: list[tuple[str, int]] = []
        position, looked_at = after or "", 0
        while True:
            # One more than `limit` shows whether there is a following page.
            found = await self._following(prefix, position, limit + 1 - len(counters) + looked_at // 2)
            for name, its in zip(found.names, await held(self._pipeline, found.names), strict=True):
                if its.value is None:
                    continue
                if len(counters) == limit:
                    return Page(counters, counters[-1][0])
                counters.append((name, its.value))
            if found.last:
                return Page(counters, None)
            position = found.names[-1]
            looked_at += len(found.names)
            if looked_at - len(counters) > MOST_GONE:
                return Page(counters, position)

    async def export(self, prefix: str) -> AsyncIterator[Sequence[tuple[str, Held]]]:
        """In the order of their names. A counter that exists all the time comes once."""
        position = ""
        while True:
            found = await self._following(prefix, position, EXPORTED)
            values = await held(self._pipeline, found.names)
            if entries := [(name, its) for name, its in zip(found.names, values, strict=True) if its.value is not None]:
                yield entries
            if found.last:
                return
            position = found.names[-1]

    async def _following(self, prefix: str, after: str, count: int) -> Following:
        found = await following(self._pipeline, prefix=prefix, after=after, count=count)
        if found is None:
            # Redis is new or was emptied, or an older release counted there.
            await self.upkeep.complete(within=COMPLETE_WITHIN)
            found = await following(self._pipeline, prefix=prefix, after=after, count=count)
        if found is None:
            raise Unavailable("The index of the counters is being made; counting goes on meanwhile.", retry_after=5)
        return found
