"""The index of names in Redis, and why it is never wrong.

Names are in a fixed number of shards by their hash, sorted sets that Redis reads in the order of names. In a cluster
they are on all nodes, and a page merges the heads of all shards. So a name may as well be in another shard than its
own, and is, if it was listed while a node was away.

* **A name is listed before its counter is made.** The scripts that make counters refuse to (`unlisted`) unless they are
  told that the name has just been listed. The service lists it and sends again. So a counter that exists never costs a
  command more, and whoever dies between the two writes leaves a name without a counter, which pages leave out.
* **Names without counters are removed later**, which must never hit a name whose counter is about to be made. Listing
  leaves a stamp, Redis' time, and only permits the counter to be made within LISTED_FOR after it. Who removes has read
  the name first, then has seen that there is no counter, and removes it within READ_FOR after reading, unless it has a
  stamp of the last STAMPED_FOR. That is longer than the other two together. So if a counter was made after it was
  looked for, the stamp is still there, and the name stays.
* **All three are in Redis' time.** A client that was suspended comes too late, however long it slept. In a cluster a
  counter and its name may be on two nodes, whose clocks may differ by what STAMPED_FOR is longer: seven minutes.
* **What the index cannot know** (counters of older releases, restored files, redis-cli) a slow scan of the keys adds
  (see upkeep). A shard is not read until a scan has been completed since it was last empty.
"""

from dataclasses import dataclass
from zlib import crc32

from counter_api.redis import keys

SHARDS = 16
"""Each counter's shard follows from it, so it cannot be changed where there are counters."""

LISTED_FOR = 120_000
"""Milliseconds after listing for which a counter may be made."""

READ_FOR = 60_000
"""Milliseconds after reading a name within which it may be removed."""

STAMPED_FOR = 600_000
"""Milliseconds for which listing is remembered."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The keys of a part of the index."""

    names: str
    stamps: str
    state: str


def _shard(number: int) -> Shard:
    return Shard(keys.NAMES % number, keys.STAMPS % number, keys.STATE % number)


ALL: tuple[Shard, ...] = tuple(map(_shard, range(SHARDS)))


def shard_of(name: str) -> Shard:
    return ALL[crc32(name.encode()) % SHARDS]
