"""Import into a cluster, where no script can set the counters of a batch and the record of the import together.

So each slot has a record of its own, which says how far the counters in it have been set. The import's record moves on
when all slots of a batch are done. A retry repeats the batch that was under way. The slots' records say which parts of
it are done.
"""

import itertools
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from redis.crc import key_slot

from counter_api.redis import keys
from counter_api.transfer.entries import Entry
from counter_api.transfer.redis_store import PARTS, RedisTransferStore, checked, import_call
from counter_api.transfer.store import EntryIsForeign, Progress
from evenkeel.redis.cluster import SLOTS
from evenkeel.redis.scripts import load

IMPORT_SLOT = load(*PARTS, files(__package__) / "lua" / "import_slot.lua")


class ClusterTransferStore(RedisTransferStore):
    async def apply(
        self, record: str, before: Progress, after: Progress, entries: Sequence[Entry], *, keep: int
    ) -> Progress:
        known = await self.progress(record)
        if known != before:
            return known
        slots: dict[int, list[int]] = {}
        for place, entry in enumerate(entries):
            slots.setdefault(key_slot((keys.COUNTER % entry.name).encode()), []).append(place)
        head = (before.applied, after.digest, keep, await self._listed(entries))
        replies = await self._pipeline.replies(
            [
                import_call(IMPORT_SLOT, _slot_record(slot, record), head, [entries[place] for place in places])
                for slot, places in slots.items()
            ]
        )
        for places, reply in zip(slots.values(), replies, strict=True):
            if isinstance(checked(reply), int):
                raise EntryIsForeign(places[reply])
        return await super().apply(record, before, after, (), keep=keep)


def _slot_record(slot: int, record: str) -> str:
    return keys.IMPORT_IN_SLOT % (_tags()[slot], record)


@cache
def _tags() -> dict[int, int]:
    """For each slot a number by which `_number` is in it."""
    tags: dict[int, int] = {}
    for number in itertools.count():
        tags.setdefault(key_slot(f"_{number}".encode()), number)
        if len(tags) == SLOTS:
            return tags
    raise AssertionError("unreachable")  # pragma: no cover
