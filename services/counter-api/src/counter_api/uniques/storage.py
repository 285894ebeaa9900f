"""Where hashes of members go: a HyperLogLog in Redis, or a set in the memory of one process."""

from dataclasses import dataclass
from typing import Any, Protocol

from counter_api.problems import NotACounter, OutcomeUnknown
from counter_api.storage.pipeline import Call, RedisPipeline
from counter_api.uniques.problems import NotUniques
from evenkeel.problems import Problem, Unavailable

HYPERLOGLOG_ERROR = 0.0081
"""Standard error of Redis' HyperLogLog with its 16,384 registers: 1.04 / sqrt(16384) (Flajolet et al., 2007)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many different members there were; `error` is the standard error relative to the value, 0 if exact."""

    value: int
    error: float


class UniquesStore(Protocol):
    """Adding is idempotent, so whoever does not know whether it happened may do it again."""

    async def add(self, name: str, member_hash: str) -> Estimate: ...

    async def count(self, name: str) -> Estimate:
        """0 if nothing was ever added."""
        ...

    async def delete(self, name: str) -> bool:
        """Whether there was anything to delete."""
        ...


class RedisUniques:
    """At most 12 KiB a name, however many members."""

    def __init__(self, pipeline: RedisPipeline) -> None:
        self._pipeline = pipeline

    async def add(self, name: str, member_hash: str) -> Estimate:
        commands = (("PFADD", _key(name), member_hash), ("PFCOUNT", _key(name)))
        _, value = _checked(await self._pipeline.replies([Call(command, repeatable=True) for command in commands]))
        return Estimate(value, HYPERLOGLOG_ERROR)

    async def count(self, name: str) -> Estimate:
        [value] = _checked(await self._pipeline.reads([Call(("PFCOUNT", _key(name)))]))
        return Estimate(value, HYPERLOGLOG_ERROR)

    async def delete(self, name: str) -> bool:
        # Somebody else's data under this key is refused here, and so left alone.
        await self.count(name)
        [deleted] = _checked(await self._pipeline.replies([Call(("DEL", _key(name)))]))
        return bool(deleted)


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
    # The slot of the counter of this name; no counter's key has anything behind the brace.
    return f"{{{name}}}:uniques"


class MemoryUniques:
    """Exact, and so as large as there are members."""

    def __init__(self) -> None:
        self._hashes: dict[str, set[str]] = {}

    async def add(self, name: str, member_hash: str) -> Estimate:
        self._hashes.setdefault(name, set()).add(member_hash)
        return await self.count(name)

    async def count(self, name: str) -> Estimate:
        return Estimate(len(self._hashes.get(name, ())), 0)

    async def delete(self, name: str) -> bool:
        return self._hashes.pop(name, None) is not None
