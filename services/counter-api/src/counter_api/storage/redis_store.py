"""Counters in Redis: exact over any number of replicas, durable as far as Redis is set up to be (see safety)."""

import bisect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from counter_api.metrics import Metrics
from counter_api.operations import (
    INT64_MAX,
    INT64_MIN,
    Applied,
    Condition,
    Delete,
    Increment,
    Once,
    Outcome,
    Put,
    no_such_counter,
)
from counter_api.problems import IdempotencyMismatch, NotACounter, NothingApplied
from counter_api.storage import safety
from counter_api.storage.pipeline import Argument, Call, RedisPipeline
from counter_api.storage.protocol import Page
from counter_api.storage.scripts import DELETE, INCREMENT, PUT, Script
from evenkeel.combining import Combiner
from evenkeel.problems import Problem

log = logging.getLogger(__name__)

# The braces are Redis Cluster's hash tag: a counter and its records share a slot. A caller's name starts with neither
# brace nor underscore, so it meets none of these.
REQUESTS = "{_requests}"
BATCHES = "{_batches}"
_COUNTER_KEY = re.compile(rb"\{([A-Za-z0-9][A-Za-z0-9._:-]{0,127})\}")
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")

SCAN_COUNT = 1000
"""Keys that one SCAN step looks at: a fraction of a millisecond of Redis' time."""


class RedisStore:
    def __init__(
        self, pipeline: RedisPipeline, *, replica: str, idempotency_ttl: int, allow_unsafe: bool, metrics: Metrics
    ) -> None:
        """`idempotency_ttl` is in seconds."""
        self._pipeline = pipeline
        self._replica = replica
        self._idempotency_ttl = idempotency_ttl
        self._allow_unsafe = allow_unsafe
        self._metrics = metrics
        self._requests: Combiner[int, None] = Combiner(self._send_requests)
        self._requests_owed = 0

    async def close(self) -> None:
        """Let what was queued be answered."""
        await self._requests.close()

    async def increment(self, operations: Sequence[Increment]) -> list[Outcome]:
        replies = await self._pipeline.replies([self._increment(operation) for operation in operations])
        return [_increment_outcome(*pair) for pair in zip(operations, replies, strict=True)]

    async def put(self, operation: Put) -> Applied:
        return await self._write(PUT, operation, operation.value)

    async def delete(self, operation: Delete) -> Applied:
        return await self._write(DELETE, operation)

    async def claim(self, batch: Once) -> None:
        key = f"{BATCHES}:idem:{batch.record}"
        seen = await self._pipeline.command("SET", key, batch.fingerprint, "NX", "GET", "EX", self._idempotency_ttl)
        if seen is not None and seen != batch.fingerprint.encode():
            raise IdempotencyMismatch

    async def value(self, name: str) -> int | None:
        found = await self._pipeline.command("GET", f"{{{name}}}")
        if found is None:
            return None
        value = _integer(found)
        if value is None:
            raise NotACounter
        return value

    async def page(self, *, prefix: str, after: str | None, limit: int) -> Page:
        # One more than asked for shows whether there is a following page.
        names = await self._first_names(prefix, after or "", limit + 1)
        following, names = names[limit - 1] if len(names) > limit else None, names[:limit]
        found = await self._pipeline.command("MGET", *(f"{{{name}}}" for name in names)) if names else []
        # A counter may be gone since the scan, and somebody else's data is no counter.
        values = [(name, _integer(value)) for name, value in zip(names, found, strict=True)]
        return Page([(name, value) for name, value in values if value is not None], following)

    async def _first_names(self, prefix: str, after: str, count: int) -> list[str]:
        """Go over all keys, keeping only the first `count` names: constant memory for any number of counters."""
        first: list[str] = []
        cursor = 0
        while True:
            reply = await self._pipeline.command(
                "SCAN", cursor, "MATCH", f"{{{prefix}*}}", "COUNT", SCAN_COUNT, "TYPE", "string"
            )
            cursor, keys = int(reply[0]), reply[1]
            for match in filter(None, map(_COUNTER_KEY.fullmatch, keys)):
                name = match[1].decode()
                if name <= after or (len(first) == count and name >= first[-1]):
                    continue
                place = bisect.bisect_left(first, name)
                # SCAN may give a key more than once.
                if first[place : place + 1] != [name]:
                    first.insert(place, name)
                    del first[count:]
            if cursor == 0:
                return first

    def count_request(self) -> Awaitable[None]:
        return self._requests.submit(1)

    async def requests(self) -> dict[str, int]:
        # Whatever was queued before this nothing is in Redis once it is answered.
        await self._requests.submit(0)
        found: Mapping[bytes, bytes] = await self._pipeline.command("HGETALL", REQUESTS)
        return {replica.decode(): int(count) for replica, count in found.items()}

    async def _send_requests(self, counts: list[int]) -> list[None]:
        self._requests_owed += sum(counts)
        sent, self._requests_owed = self._requests_owed, 0
        try:
            await self._pipeline.command("HINCRBY", REQUESTS, self._replica, sent)
        except NothingApplied:
            self._requests_owed += sent
            raise
        except Problem:
            # To send them again could count them twice.
            self._metrics.uncounted_requests.inc(sent)
            raise
        return [None] * len(counts)

    def checks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        checks: dict[str, Callable[[], Awaitable[None]]] = {"redis": self._ping}
        if not self._allow_unsafe:
            checks["redis-settings"] = self._check_settings
        return checks

    async def _ping(self) -> None:
        await self._pipeline.command("PING")

    async def _check_settings(self) -> None:
        await safety.check(self._pipeline)

    def _increment(self, operation: Increment) -> Call:
        lowest, highest = operation.allowed()
        ttl = "" if operation.ttl is None else operation.ttl
        return self._call(INCREMENT, operation, (operation.by, str(lowest), str(highest), ttl), ())

    async def _write(self, script: Script, operation: Put | Delete, *arguments: Argument) -> Applied:
        [reply] = await self._pipeline.replies(
            [self._call(script, operation, arguments, _condition(operation.condition))]
        )
        if isinstance(reply, Problem):
            raise reply
        match reply:
            case [b"unmatched", *current] if operation.condition is not None:
                raise operation.condition.unmet(int(current[0]) if current else None)
            case [b"absent"]:
                raise no_such_counter(operation.name)
            case _:
                outcome = _outcome(reply)
                if isinstance(outcome, Problem):
                    raise outcome
                return outcome

    def _call(
        self,
        script: Script,
        operation: Increment | Put | Delete,
        arguments: tuple[Argument, ...],
        condition: tuple[Argument, ...],
    ) -> Call:
        keys = [f"{{{operation.name}}}"]
        fingerprint = ""
        if operation.once is not None:
            keys.append(f"{{{operation.name}}}:idem:{operation.once.record}")
            fingerprint = operation.once.fingerprint
        return Call((len(keys), *keys, *arguments, fingerprint, self._idempotency_ttl, *condition), script)


def _condition(condition: Condition | None) -> tuple[Argument, ...]:
    if condition is None:
        return ()
    if condition.accepted is None:
        return ("*",)
    # A list of weak tags accepts no value at all, which is not the same as no condition.
    return tuple(map(str, condition.accepted)) or ("none",)


def _increment_outcome(operation: Increment, reply: Any) -> Outcome:
    match reply:
        case [b"refused", current]:
            return operation.refusal(int(current))
        case _:
            return _outcome(reply)


def _outcome(reply: Any) -> Outcome:
    match reply:
        case Problem():
            return reply
        case [b"applied", value]:
            return Applied(int(value))
        case [b"replayed", value]:
            return Applied(int(value), replayed=True)
        case [b"mismatch"]:
            return IdempotencyMismatch()
    raise AssertionError(f"a script replied {reply!r}")


def _integer(text: bytes | None) -> int | None:
    """The value of a counter, or None for nothing and for what is no canonical 64-bit integer."""
    if text is None or not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if INT64_MIN <= value <= INT64_MAX else None
