"""The index of names in Redis, and why it is never wrong.

The index is a fixed number of shards. Each shard is a sorted set, which Redis reads in the order of names. A name's
hash chooses its shard. In a cluster the shards are on all nodes. A page merges names from all shards, so it finds a
name in any of them. A name is in another shard than its own if it was listed while a node was away.

* **A name is listed before its counter is made.** A script that would make a counter refuses (`unlisted`) unless the
  call says that the name was listed just before. The service then lists the name and sends again. So a counter that
  exists needs no further command. A process that dies between the two writes leaves a name without a counter, and
  pages leave such names out.
* **Names without counters are removed later.** That must never remove a name whose counter is about to be made.
  Listing leaves a stamp, Redis' time, and the counter may only be made within LISTED_FOR after the stamp. Removal reads
  the name, then sees that there is no counter, then removes the name within READ_FOR after reading it. It keeps a name
  whose stamp is younger than STAMPED_FOR. STAMPED_FOR is longer than the other two together. So if the counter was made
  after removal looked for it, the stamp still exists, and the name stays.
* **All three are in Redis' time.** A client that was suspended comes too late, however long it slept. In a cluster a
  counter and its name may be on two nodes. Their clocks may differ by what STAMPED_FOR is longer: seven minutes.
* **A slow scan of all keys adds counters that were never listed** (see upkeep): those of older releases, restored files
  and redis-cli. A shard that was empty is not read until a scan is complete.
"""

from dataclasses import dataclass
from zlib import crc32

from counter_api.redis import keys

SHARDS = 16
"""It decides the shard of each counter, so it cannot change while counters exist."""

LISTED_FOR = 120_000
"""Milliseconds after listing in which the counter may be made."""

READ_FOR = 60_000
"""Milliseconds after reading a name in which it may be removed."""

STAMPED_FOR = 600_000
"""Milliseconds for which a stamp is kept."""


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
