"""Counters in Redis: exact over any number of replicas, and as durable as Redis is set up to be (redis/safety.py)."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from counter_api.counters.batch import Group
from counter_api.counters.encoding import Terms, integer
from counter_api.counters.listing.redis_listing import RedisListing
from counter_api.counters.operations import Once, Operation, Outcome
from counter_api.counters.scripts import SERIES
from counter_api.counters.series import STEPS, Bucket, Unit
from counter_api.counters.store import Page
from counter_api.problems import NotACounter, NothingApplied, NotListed
from counter_api.redis import keys
from counter_api.redis.calls import Call, checked
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.idempotency import IdempotencyMismatch


class RedisStore:
    def __init__(self, pipeline: RedisPipeline, *, terms: Terms, most_waiting: int) -> None:
        """`most_waiting` bounds the counters that wait to be made."""
        self.pipeline = pipeline
        self.terms = terms
        self.listing = RedisListing(pipeline, most_waiting=most_waiting)

    async def close(self) -> None:
        await self.listing.close()

    async def apply(self, operations: Sequence[Operation]) -> list[Outcome]:
        if len(operations) == 1:
            group = Group(operations[0].name, operations, self.terms)
            result = await self._submitted(group)
            if isinstance(result[0], NotListed):
                [result] = await self._made([group])
            return result
        places: dict[str, list[int]] = {}
        for place, operation in enumerate(operations):
            places.setdefault(operation.name, []).append(place)
        groups = [Group(name, [operations[place] for place in its], self.terms) for name, its in places.items()]
        results = await self._results(groups)
        absent = [place for place, result in enumerate(results) if isinstance(result[0], NotListed)]
        if absent:
            for place, result in zip(absent, await self._made([groups[place] for place in absent]), strict=True):
                results[place] = result
        outcomes: dict[int, Outcome] = {}
        for its, result in zip(places.values(), results, strict=True):
            outcomes.update(zip(its, result, strict=True))
        return [outcomes[place] for place in range(len(operations))]

    async def _made(self, groups: Sequence[Group]) -> list[list[Outcome]]:
        """List the names of counters that do not exist yet, then send again what makes them."""
        try:
            listed = await self.listing.names.listed([group.name for group in groups])
        except NothingApplied as problem:
            return [[problem] * len(group.operations) for group in groups]
        return await self._results([replace(group, listed=listed) for group in groups])

    async def _results(self, groups: Sequence[Group]) -> list[list[Outcome]]:
        submitted = [self._submitted(group) for group in groups]
        return [await result for result in submitted]

    def _submitted(self, group: Group) -> "asyncio.Future[list[Outcome]]":
        try:
            return self.pipeline.submit(group)
        except NothingApplied as problem:
            refused: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
            refused.set_result([problem] * len(group.operations))
            return refused

    async def claim(self, batch: Once) -> None:
        key = keys.RECORD % (keys.BATCHES, batch.record)
        # Sent twice it claims once, and finds its own claim.
        command = ("SET", key, batch.fingerprint, "NX", "GET", "EX", self.terms.idempotency_ttl)
        seen = await self.pipeline.command(*command, repeatable=True)
        if seen is not None and seen != batch.fingerprint.encode():
            raise IdempotencyMismatch

    async def value(self, name: str) -> int | None:
        found = await self.pipeline.read("GET", keys.COUNTER % name)
        if found is None:
            return None
        value = integer(found)
        if value is None:
            raise NotACounter
        return value

    async def series(self, name: str, unit: Unit, last: int) -> list[Bucket]:
        call = Call((2, keys.SERIES % (name, unit), keys.COUNTER % name, STEPS[unit], last), SERIES)
        [reply] = await self.pipeline.reads([call])
        newest, values = checked(reply)
        oldest = newest - (last - 1) * STEPS[unit]
        return [Bucket(oldest + place * STEPS[unit], int(value or 0)) for place, value in enumerate(values)]

    async def page(self, *, prefix: str, after: str | None, limit: int) -> Page:
        return await self.listing.page(prefix=prefix, after=after, limit=limit)
