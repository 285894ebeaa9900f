"""Adds names to the index before their counters are made."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from counter_api.counters.listing.scripts import LIST
from counter_api.counters.listing.shards import ALL, LISTED_FOR, STAMPED_FOR, Shard, shard_of
from counter_api.problems import NothingApplied
from counter_api.redis.calls import Argument, Call
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.problems import Problem
from evenkeel.redis.combining import Combiner, Full

LARGEST = 1000
"""Names that one call of the script lists: about a millisecond of Redis' time."""


class Names:
    """Names of one shard that queue while others are being listed are listed together."""

    def __init__(self, pipeline: RedisPipeline, *, most_waiting: int) -> None:
        self._pipeline = pipeline
        self._most_waiting = most_waiting
        self._shards: dict[Shard, Combiner[str, int | NothingApplied]] = {}

    async def listed(self, names: Iterable[str]) -> int:
        """List them. Returns until when their counters may be made, in milliseconds of Redis' time.

        Raise NothingApplied if that failed. Some names may be listed nevertheless, which does no harm.
        """
        results = await asyncio.gather(*map(self._submitted, names))
        for result in results:
            if isinstance(result, NothingApplied):
                raise result
        return min(result for result in results if isinstance(result, int))

    async def close(self) -> None:
        for combiner in self._shards.values():
            await combiner.close()

    def _submitted(self, name: str) -> "asyncio.Future[int | NothingApplied]":
        shard = shard_of(name)
        combiner = self._shards.get(shard)
        if combiner is None:
            combiner = self._shards[shard] = Combiner(
                partial(self._list, shard), largest=LARGEST, most_waiting=self._most_waiting, name="list names"
            )
        try:
            return combiner.submit(name)
        except Full:
            raise NothingApplied("Too many counters wait to be made, so nothing was changed.") from None

    async def _list(self, shard: Shard, names: Sequence[str]) -> Sequence[int | NothingApplied]:
        reply: int | Problem = 0
        tried = set[str]()
        # If a node of a cluster is away, a shard of another node takes the names. Readers read all shards.
        begin = ALL.index(shard)
        for each in (*ALL[begin:], *ALL[:begin]):
            address = self._pipeline.topology.address(each.names)
            if address in tried:
                continue
            tried.add(address)
            arguments: tuple[Argument, ...] = (2, each.names, each.stamps, STAMPED_FOR, *dict.fromkeys(names))
            [reply] = await self._pipeline.replies([Call(arguments, LIST, repeatable=True)])
            if not isinstance(reply, Problem):
                return [reply + LISTED_FOR] * len(names)
        problem = NothingApplied(f"The counter could not be listed, so nothing was changed: {reply}")
        return [reply if isinstance(reply, NothingApplied) else problem] * len(names)
