"""Export from Redis and import into it."""

from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from typing import Any

from counter_api.counters.listing.redis_listing import RedisListing
from counter_api.counters.scripts import CREATION, SERIES_OF
from counter_api.problems import NotListed
from counter_api.redis.calls import Argument, Call
from counter_api.redis.keys import COUNTER, IMPORTS, RECORD
from counter_api.redis.pipeline import RedisPipeline
from counter_api.transfer.entries import Entry
from counter_api.transfer.store import EntryIsForeign, Progress
from evenkeel.http.problems import Problem
from evenkeel.redis.scripts import Script, load

_HERE = files(__package__) / "lua"
PARTS = (CREATION, SERIES_OF, _HERE / "counters.lua")

IMPORT = load(*PARTS, _HERE / "import.lua")


class RedisTransferStore:
    def __init__(self, pipeline: RedisPipeline, listing: RedisListing) -> None:
        self._pipeline = pipeline
        self._listing = listing

    async def export(self, prefix: str) -> AsyncIterator[list[Entry]]:
        async for found in self._listing.export(prefix):
            yield [Entry(name, its.value, its.ttl) for name, its in found if its.value is not None]

    async def progress(self, record: str) -> Progress:
        return _progress(await self._pipeline.read("GET", _key(record)))

    async def apply(
        self, record: str, before: Progress, after: Progress, entries: Sequence[Entry], *, keep: int
    ) -> Progress:
        listed = await self._listed(entries)
        call = import_call(IMPORT, _key(record), (_text(before), _text(after), keep, listed), entries)
        reply = checked(*await self._pipeline.replies([call]))
        if isinstance(reply, int):
            raise EntryIsForeign(reply)
        return _progress(reply)

    async def _listed(self, entries: Sequence[Entry]) -> int:
        """Until when the counters may be made. Any of them may be new."""
        return await self._listing.names.listed([entry.name for entry in entries]) if entries else 0


def import_call(script: Script, record: str, arguments: Sequence[Argument], entries: Sequence[Entry]) -> Call:
    """The call may be sent twice, because the record then says that it was done."""
    keys = [record, *(COUNTER % entry.name for entry in entries)]
    values: list[Argument] = []
    for entry in entries:
        values += (entry.value, "" if entry.ttl is None else entry.ttl)
    return Call((len(keys), *keys, *arguments, *values), script, repeatable=True)


def checked(reply: Any) -> Any:
    if isinstance(reply, Problem):
        raise reply
    if reply == b"unlisted":
        raise NotListed("It took too long between listing the counters and setting them.")
    return reply


def _key(record: str) -> str:
    return RECORD % (IMPORTS, record)


def _text(progress: Progress) -> str:
    if progress == Progress():
        return ""
    return f"{progress.applied} {'done' if progress.done else 'open'} {progress.digest}"


def _progress(text: bytes | None) -> Progress:
    if not text:
        return Progress()
    applied, state, digest = text.decode().split(" ")
    return Progress(int(applied), digest, state == "done")
