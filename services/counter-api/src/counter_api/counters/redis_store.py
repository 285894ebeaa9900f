"""Counters in Redis: exact over any number of replicas, and as durable as Redis is set up to be (redis/safety.py).

All operations of one round trip on one counter are one batch, which is one call of a script. Increments without
conditions are joined: a hundred callers who add 1 are one operation that adds 100. Each caller's value is what was
there before, plus the sum up to the caller's own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from counter_api.counters.encoding import Judged, Terms, integer
from counter_api.counters.listing.redis_listing import RedisListing
from counter_api.counters.operations import (
    INT64_MAX,
    INT64_MIN,
    Applied,
    Delete,
    Increment,
    Operation,
    Outcome,
    RecordKey,
)
from counter_api.counters.scripts import BATCH, DELETIONS, SERIES, SUM
from counter_api.counters.series import STEPS, Bucket, Unit
from counter_api.counters.store import Page
from counter_api.problems import NotACounter, NothingApplied, NotListed
from counter_api.redis import keys
from counter_api.redis.calls import Argument, Batch, Call, Sender, checked
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.idempotency import IdempotencyMismatch
from evenkeel.http.problems import Problem
from evenkeel.http.request_context import REQUEST_ID

FOR_EVER = 2**53
"""Milliseconds."""


@dataclass(frozen=True, slots=True)
class Group:
    """One caller's operations on one counter."""

    name: str
    operations: Sequence[Operation]
    terms: Terms
    listed: int = 0
    """Until when the counter may be made if it is not there, in milliseconds of Redis' time: its name is listed."""
    request_id: bytes | None = field(default_factory=REQUEST_ID.get, compare=False)

    @property
    def key(self) -> str:
        return keys.COUNTER % self.name

    @property
    def batch_key(self) -> tuple[str, bool]:
        """Deletions travel in a batch of their own, since Redis executes them even when memory is full."""
        return self.name, all(isinstance(operation, Delete) for operation in self.operations)

    @property
    def weight(self) -> int:
        return len(self.operations)

    def begin(self, sender: Sender) -> "CounterBatch":
        name, deletions = self.batch_key
        return CounterBatch(name, deletions=deletions, sender=sender, terms=self.terms)


class CounterBatch(Batch):
    """Once it is settled, `outcomes` has what became of each operation, at the operation's place."""

    repeatable = True

    def __init__(self, name: str, *, deletions: bool, sender: Sender, terms: Terms) -> None:
        self.key = keys.COUNTER % name
        self._name = name
        self._deletions = deletions
        self._keys = [self.key, keys.RECEIPT % (name, sender.name + "-" if deletions else sender.name)]
        self._numbers = sender.numbers
        self._number = next(sender.numbers)
        self._terms = terms
        # The service's own counters are in no list.
        self._listed = FOR_EVER if name.startswith("_") else 0
        self._operations: list[Operation] = []
        self.request_ids: list[bytes] = []
        self._encoded: PlainSum | Judged | None = None
        self.outcomes: list[Outcome] = []

    def add(self, part: Group) -> slice:
        start = len(self._operations)
        self._operations.extend(part.operations)
        self._listed = max(self._listed, part.listed)
        if part.request_id is not None:
            self.request_ids.append(part.request_id)
        return slice(start, len(self._operations))

    def result_at(self, place: slice) -> list[Outcome]:
        return self.outcomes[place]

    def command(self, until: int) -> tuple[Argument, ...]:
        encoded = self._encoded
        if encoded is None:
            encoded = self._encoded = PlainSum.of(self._keys, self._operations) or self._judged(joining=True)
            self.script = encoded.script
        receipt = self.unsure or self._terms.replicated
        arguments = encoded.arguments(self._number, until, receipt=receipt, listed=self._listed)
        return ("EVALSHA", encoded.script.sha, len(encoded.keys), *encoded.keys, *arguments)

    def receive(self, reply: Any) -> bool:
        assert self._encoded is not None  # noqa: S101 (it has been sent)
        if reply in {b"late", b"stale"}:
            return False
        if reply == b"split":
            # Nothing was done. If other copies are under way, the receipt keeps it so: what follows is another batch.
            self._number = next(self._numbers)
            self.unsure = False
            self._encoded = self._judged(joining=False)
            self.script = self._encoded.script
            return False
        if reply == b"unlisted":
            # As above. The caller lists the name and sends another batch.
            self.fail(lambda: NotListed("There is no such counter, and it was not made."))
            return True
        self.outcomes = self._encoded.outcomes(reply)
        return True

    def fail(self, problem: Callable[[], Problem]) -> None:
        self.outcomes = [problem() for _ in self._operations]

    def _judged(self, *, joining: bool) -> Judged:
        runs = _joined(self._operations) if joining else [[operation] for operation in self._operations]
        script = DELETIONS if self._deletions else BATCH
        return Judged(self._name, list(self._keys), runs, self._terms, script=script)


class PlainSum:
    """Increments without conditions as sum.lua takes them: one addition, from which each caller's value follows."""

    script = SUM

    def __init__(self, keys: list[str], increments: Sequence[Increment], total: int) -> None:
        """`keys` are the counter and the receipt."""
        self.keys = keys
        self._increments = increments
        self._total = total

    @classmethod
    def of(cls, keys: list[str], operations: Sequence[Operation]) -> "PlainSum | None":
        """None unless all are plain and go the same way, so that no value on the way is beyond first and last."""
        increments = []
        total = 0
        for operation in operations:
            if not _is_unconditional(operation) or operation.series or operation.by * total < 0:
                return None
            increments.append(operation)
            total += operation.by
        return cls(keys, increments, total) if INT64_MIN <= total <= INT64_MAX else None

    def arguments(self, number: int, until: int, *, receipt: bool, listed: int) -> tuple[Argument, ...]:
        return number, until, "1" if receipt else "", self._total, listed

    def outcomes(self, reply: bytes) -> list[Outcome]:
        value = int(reply[1:])
        outcomes: list[Outcome] = []
        for increment in self._increments:
            value += increment.by
            outcomes.append(Applied(value))
        return outcomes


def _joined(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Neighbours that can be one operation: of the same sign, so that between them the value only goes one way."""
    runs: list[list[Operation]] = []
    kind: object = None
    for operation in operations:
        before, kind = kind, (operation.by < 0, operation.series) if _is_unconditional(operation) else None
        if kind is not None and kind == before:
            runs[-1].append(operation)
        else:
            runs.append([operation])
    return runs


def _is_unconditional(operation: Operation) -> TypeGuard[Increment]:
    """Whether the operation can be added together with others like it."""
    return (
        isinstance(operation, Increment)
        and operation.once is None
        and operation.preconditions is None
        and operation.minimum is None
        and operation.maximum is None
        and operation.ttl is None
    )


class RedisCounterStore:
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

    async def claim(self, batch: RecordKey) -> None:
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
