"""Counters in Redis: exact over any number of replicas, durable as far as Redis is set up to be (see safety)."""

import asyncio
import bisect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from counter_api.metrics import Metrics
from counter_api.operations import Once, Operation, Outcome
from counter_api.problems import IdempotencyMismatch, NotACounter, NothingApplied
from counter_api.series import STEPS, Bucket, Unit
from counter_api.storage import safety
from counter_api.storage.batch import Group
from counter_api.storage.integers import integer
from counter_api.storage.pipeline import Call, RedisPipeline
from counter_api.storage.protocol import Page
from counter_api.storage.request_tally import REQUESTS, RequestTally
from counter_api.storage.scripts import SERIES
from evenkeel.problems import Problem

log = logging.getLogger(__name__)

# The braces are Redis Cluster's hash tag: a counter and what belongs to it share a slot. A caller's name starts with
# neither brace nor underscore, so it meets none of these.
BATCHES = "{_batches}"
_COUNTER_KEY = re.compile(rb"\{([A-Za-z0-9][A-Za-z0-9._:-]{0,127})\}")


class RedisStore:
    def __init__(
        self,
        pipeline: RedisPipeline,
        *,
        replica: str,
        idempotency_ttl: int,
        replica_acks: int,
        allow_unsafe: bool,
        metrics: Metrics,
    ) -> None:
        """`idempotency_ttl` is in seconds."""
        self.pipeline = pipeline
        self._replica = replica
        self._idempotency_ttl = idempotency_ttl
        self._replica_acks = replica_acks
        self._allow_unsafe = allow_unsafe
        self._requests = RequestTally(pipeline.submit, replica=replica, uncounted=metrics.uncounted_requests)

    async def apply(self, operations: Sequence[Operation]) -> list[Outcome]:
        if len(operations) == 1:
            return await self._submitted(Group(operations[0].name, operations))
        places: dict[str, list[int]] = {}
        for place, operation in enumerate(operations):
            places.setdefault(operation.name, []).append(place)
        submitted = [self._submitted(Group(name, [operations[place] for place in its])) for name, its in places.items()]
        outcomes: dict[int, Outcome] = {}
        for its, future in zip(places.values(), submitted, strict=True):
            outcomes.update(zip(its, await future, strict=True))
        return [outcomes[place] for place in range(len(operations))]

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
        call = Call((1, f"{{{name}}}:series:{unit}", STEPS[unit], last), SERIES)
        [reply] = await self.pipeline.reads([call])
        if isinstance(reply, Problem):
            raise reply
        newest, values = reply
        oldest = newest - (last - 1) * STEPS[unit]
        return [Bucket(oldest + place * STEPS[unit], int(value or 0)) for place, value in enumerate(values)]

    async def page(self, *, prefix: str, after: str | None, limit: int) -> Page:
        # One more than asked for shows whether there is a following page.
        names = await self._first_names(prefix, after or "", limit + 1)
        following, names = names[limit - 1] if len(names) > limit else None, names[:limit]
        found = await self.pipeline.reads([Call(("GET", f"{{{name}}}")) for name in names])
        counters = []
        for name, value in zip(names, found, strict=True):
            if isinstance(value, NotACounter):
                continue
            if isinstance(value, Problem):
                raise value
            # A counter may be gone since the scan, and somebody else's data is no counter.
            number = integer(value)
            if number is not None:
                counters.append((name, number))
        return Page(counters, following)

    async def _first_names(self, prefix: str, after: str, count: int) -> list[str]:
        """Go over all keys, keeping only the first `count` names: constant memory for any number of counters."""
        first: list[str] = []
        async for key in self.pipeline.scan(f"{{{prefix}*}}"):
            match = _COUNTER_KEY.fullmatch(key)
            name = match[1].decode() if match else ""
            if name <= after or (len(first) == count and name >= first[-1]):
                continue
            place = bisect.bisect_left(first, name)
            # SCAN may give a key more than once.
            if first[place : place + 1] != [name]:
                first.insert(place, name)
                del first[count:]
        return first

    def count_request(self) -> Awaitable[None]:
        return self._requests.add(1)

    async def requests(self) -> dict[str, int]:
        # Whatever was queued before this nothing is in Redis once it is answered.
        await self._requests.add(0)
        found: Mapping[bytes, bytes] = await self.pipeline.read("HGETALL", REQUESTS)
        return {replica.decode(): int(count) for replica, count in found.items()}

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
