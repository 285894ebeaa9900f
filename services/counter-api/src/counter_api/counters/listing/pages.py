"""Reads the index: the names after a given one, in order, merged from all shards."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from counter_api.counters.listing.scripts import NAMES
from counter_api.counters.listing.shards import ALL, Shard
from counter_api.redis.calls import Call
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.problems import Problem


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one shard. `read` is the time of reading, in milliseconds of Redis' time."""

    complete: bool
    read: int
    names: list[str]


@dataclass(frozen=True, slots=True)
class Following:
    """Names in order. `last`: there are no more after them."""

    names: list[str]
    last: bool


async def following(pipeline: RedisPipeline, *, prefix: str, after: str, count: int) -> Following | None:
    """At most `count` names after `after`, and at least one unless there are no more.

    None while the index is not complete. Raise the problem if a shard cannot be read.
    """
    # The hash gives each shard an equal share, and rarely more than four standard deviations more.
    share = count / len(ALL)
    each = math.ceil(share + 4 * math.sqrt(share)) + 1
    replies = await pipeline.reads([names_call(shard, prefix=prefix, after=after, count=each) for shard in ALL])
    shards = [names_of(reply) for reply in replies]
    if not all(shard.complete for shard in shards):
        return None
    # A name may be in two of them.
    names = sorted({name for shard in shards for name in shard.names})
    # A shard that gave as many as it could may have more names after its last one.
    ends = [shard.names[-1] for shard in shards if len(shard.names) == each]
    known = bisect_right(names, min(ends)) if ends else len(names)
    return Following(names[: min(known, count)], last=not ends and known <= count)


def names_call(shard: Shard, *, prefix: str, after: str, count: int) -> Call:
    """Names are ASCII, so every name with the prefix comes before the prefix followed by a byte of 255."""
    if after >= prefix and after:
        begin: str = f"({after}"
    else:
        begin = f"[{prefix}" if prefix else "-"
    end = b"(" + prefix.encode() + b"\xff" if prefix else "+"
    return Call((2, shard.names, shard.state, begin, end, count), NAMES)


def names_of(reply: Any) -> Names:
    if isinstance(reply, Problem):
        raise reply
    complete, read, names = reply
    return Names(complete == 1, read, [name.decode() for name in names])
