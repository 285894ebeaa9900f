"""Counters in Redis: exact over any number of replicas, durable as far as Redis is set up to be (see safety)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from counter_api.counters.batch import Group
from counter_api.counters.integers import integer
from counter_api.counters.listing.redis_listing import RedisListing
from counter_api.counters.operations import Once, Operation, Outcome
from counter_api.counters.scripts import SERIES
from counter_api.counters.series import STEPS, Bucket, Unit
from counter_api.counters.store import Page, Requests
from counter_api.metrics import Metrics
from counter_api.problems import NotACounter, NothingApplied, NotListed
from counter_api.redis import safety
from counter_api.redis.pipeline import Call, RedisPipeline
from counter_api.stats.presence import Presence
from counter_api.stats.request_tally import REQUESTS, RequestTally
from evenkeel.http.idempotency import IdempotencyMismatch
from evenkeel.http.problems import Problem

# The braces are Redis Cluster's hash tag: a counter and what belongs to it share a slot. A caller's name starts with
# neither brace nor underscore, so it meets none of these.
BATCHES = "{_batches}"


class RedisStore:
    def __init__(
        self,
        pipeline: RedisPipeline,
        *,
        replica: str,
        idempotency_ttl: int,
        replica_acks: int,
        most_waiting: int,
        allow_unsafe: bool,
        metrics: Metrics,
    ) -> None:
        """`idempotency_ttl` is in seconds, `most_waiting` bounds the counters that wait to be made."""
        self.pipeline = pipeline
        self.presence = Presence(pipeline, replica=replica)
        self.listing = RedisListing(pipeline, most_waiting=most_waiting)
        self._replica = replica
        self._idempotency_ttl = idempotency_ttl
        self._replica_acks = replica_acks
        self._allow_unsafe = allow_unsafe
        self._requests = RequestTally(pipeline.submit, replica=replica, uncounted=metrics.uncounted_requests)

    async def close(self) -> None:
        await self.listing.close()

    async def apply(self, operations: Sequence[Operation]) -> list[Outcome]:
        if len(operations) == 1:
            group = Group(operations[0].name, operations)
            result = await self._submitted(group)
            if isinstance(result[0], NotListed):
                [result] = await self._made([group])
            return result
        places: dict[str, list[int]] = {}
        for place, operation in enumerate(operations):
            places.setdefault(operation.name, []).append(place)
        groups = [Group(name, [operations[place] for place in its]) for name, its in places.items()]
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
        """Send again what would make counters, having listed their names."""
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
        key = f"{BATCHES}:idem:{batch.record}"
        # Sent twice it claims once, and finds its own claim.
        command = ("SET", key, batch.fingerprint, "NX", "GET", "EX", self._idempotency_ttl)
        seen = await self.pipeline.command(*command, repeatable=True)
        if seen is not None and seen != batch.fingerprint.encode():
            raise IdempotencyMismatch

    async def value(self, name: str) -> int | None:
        found = await self.pipeline.read("GET", f"{{{name}}}")
        if found is None:
            return None
        value = integer(found)
        if value is None:
            raise NotACounter
        return value

    async def series(self, name: str, unit: Unit, last: int) -> list[Bucket]:
        call = Call((2, f"{{{name}}}:series:{unit}", f"{{{name}}}", STEPS[unit], last), SERIES)
        [reply] = await self.pipeline.reads([call])
        if isinstance(reply, Problem):
            raise reply
        newest, values = reply
        oldest = newest - (last - 1) * STEPS[unit]
        return [Bucket(oldest + place * STEPS[unit], int(value or 0)) for place, value in enumerate(values)]

    async def page(self, *, prefix: str, after: str | None, limit: int) -> Page:
        return await self.listing.page(prefix=prefix, after=after, limit=limit)

    def count_request(self) -> Awaitable[None]:
        return self._requests.add(1)

    async def requests(self) -> Requests:
        # Whatever was queued before this nothing is in Redis once it is answered.
        await self._requests.add(0)
        found: Mapping[bytes, bytes] = await self.pipeline.read("HGETALL", REQUESTS)
        replicas = {replica.decode(): int(count) for replica, count in found.items()}
        total = sum(replicas.values())
        replicas.pop("", None)
        return Requests(total, replicas)

    def checks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        checks: dict[str, Callable[[], Awaitable[None]]] = {"redis": self._ping}
        if not self._allow_unsafe:
            checks["redis-settings"] = self._check_settings
        return checks

    async def _ping(self) -> None:
        answers = (await self.pipeline.ask_servers("PING")).values()
        # Counters on the other nodes of a cluster are no reason to send nobody here.
        if all(isinstance(answer, Problem) for answer in answers):
            raise next(iter(answers))

    async def _check_settings(self) -> None:
        await safety.check(self.pipeline, replica_acks=self._replica_acks)
