"""Members' hashes in a HyperLogLog of Redis."""

from typing import Any

from counter_api.counters.operations import RecordKey
from counter_api.problems import NotACounter, OutcomeUnknown
from counter_api.redis import keys
from counter_api.redis.calls import Argument, Call
from counter_api.redis.pipeline import RedisPipeline
from counter_api.uniques.problems import NotUniques
from counter_api.uniques.scripts import ADD, FORGET
from counter_api.uniques.store import Estimate, Forgotten
from evenkeel.http.idempotency import IdempotencyMismatch, replayed
from evenkeel.http.problems import Problem, Unavailable
from evenkeel.redis.scripts import Script

HYPERLOGLOG_ERROR = 0.0081
"""Standard error of Redis' HyperLogLog with its 16,384 registers: 1.04 / sqrt(16384) (Flajolet et al., 2007)."""


class RedisUniquesStore:
    """A name takes 12 KiB at most, however many members it has."""

    def __init__(self, pipeline: RedisPipeline, *, idempotency_ttl: int) -> None:
        """`idempotency_ttl` is in seconds."""
        self._pipeline = pipeline
        self._idempotency_ttl = idempotency_ttl

    async def add(self, name: str, member_hash: str, once: RecordKey | None = None) -> Estimate:
        if once is not None:
            value, before = await self._once(ADD, name, once, member_hash)
            return Estimate(value, HYPERLOGLOG_ERROR, before)
        commands = (("PFADD", _key(name), member_hash), ("PFCOUNT", _key(name)))
        _, value = _checked(await self._pipeline.replies([Call(command, repeatable=True) for command in commands]))
        return Estimate(value, HYPERLOGLOG_ERROR)

    async def count(self, name: str) -> Estimate:
        [value] = _checked(await self._pipeline.reads([Call(("PFCOUNT", _key(name)))]))
        return Estimate(value, HYPERLOGLOG_ERROR)

    async def delete(self, name: str, once: RecordKey | None = None) -> Forgotten:
        if once is not None:
            deleted, before = await self._once(FORGET, name, once, "")
            return Forgotten(bool(deleted), before)
        # This refuses another program's data under the key, so that it is not deleted.
        await self.count(name)
        [deleted] = _checked(await self._pipeline.replies([Call(("DEL", _key(name)))]))
        return Forgotten(bool(deleted))

    async def _once(self, script: Script, name: str, once: RecordKey, argument: str) -> tuple[int, bool]:
        """The number that the script replies, and whether it was replied before."""
        record = keys.UNIQUES_RECORD % (name, once.record)
        arguments: tuple[Argument, ...] = (2, _key(name), record, once.fingerprint, self._idempotency_ttl, argument)
        # A second copy finds the record of the first one.
        [reply] = _checked(await self._pipeline.replies([Call(arguments, script, repeatable=True)]))
        before, answer = bool(reply[0]), reply[1]
        if answer == b"!":
            raise IdempotencyMismatch
        if answer == b"w":
            raise replayed(NotUniques()) if before else NotUniques
        return int(answer), before


def _checked(replies: list[Any]) -> list[Any]:
    for reply in replies:
        match reply:
            case NotACounter():
                raise NotUniques
            case OutcomeUnknown():
                raise Unavailable("Redis did not answer in time; to send this again is safe.")
            case Problem():
                raise reply
    return replies


def _key(name: str) -> str:
    return keys.UNIQUES % name
