"""The values of counters whose names are known: one call for each server, however many counters it has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from counter_api.counters.encoding import integer
from counter_api.counters.listing.scripts import HELD
from counter_api.problems import NotACounter
from counter_api.redis.calls import Call, checked
from counter_api.redis.keys import COUNTER
from counter_api.redis.pipeline import RedisPipeline

ELSEWHERE = b"elsewhere"
"""What held.lua replies for a key that its server does not have any more."""


@dataclass(frozen=True, slots=True)
class Held:
    """`value` is None if there is no counter. `ttl` is in seconds; None: the counter does not expire."""

    gone: bool
    value: int | None
    ttl: int | None


async def held(pipeline: RedisPipeline, names: Sequence[str]) -> list[Held]:
    """What each of them holds. Those of one server are read at one moment. Raise the problem if one cannot be read."""
    keys = [COUNTER % name for name in names]
    servers: dict[str, list[str]] = {}
    for key in keys:
        servers.setdefault(pipeline.topology.address(key), []).append(key)
    replies = await pipeline.reads([Call((0, *its), HELD, at=address) for address, its in servers.items()])
    found: dict[str, tuple[Any, Any]] = {}
    for its, reply in zip(servers.values(), replies, strict=True):
        pairs = iter(checked(reply))
        found |= {key: (value, left) for key, value, left in zip(its, pairs, pairs, strict=True)}
    # A counter that was moved to another server is read there.
    for key in [key for key, (value, _) in found.items() if value == ELSEWHERE]:
        value, left = await pipeline.reads([Call(("GET", key)), Call(("PTTL", key))])
        found[key] = None if isinstance(value, NotACounter) else checked(value), checked(left)
    return [_held(*found[key]) for key in keys]


def _held(text: bytes | None, left: int) -> Held:
    return Held(text is None, integer(text), None if left < 0 else max(1, math.ceil(left / 1000)))
