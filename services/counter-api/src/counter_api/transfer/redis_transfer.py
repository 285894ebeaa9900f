"""Export from Redis and import into it."""

import hashlib
import math
import re
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from typing import Any

from counter_api.problems import NotACounter
from counter_api.storage.calls import Argument, Call
from counter_api.storage.integers import integer
from counter_api.storage.pipeline import RedisPipeline
from counter_api.storage.scripts import Script
from counter_api.transfer.entries import Entry
from counter_api.transfer.storage import EntryIsForeign, Progress
from evenkeel.problems import Problem

_COUNTER_KEY = re.compile(rb"\{([A-Za-z0-9][A-Za-z0-9._:-]{0,127})\}")

ELSEWHERE = b"elsewhere"
"""What export.lua says of a key that its server does not have any more."""


def load(*names: str, flags: str = "") -> Script:
    """The scripts beside this module, as one."""
    parts = [files(__package__).joinpath(name).read_text(encoding="utf-8") for name in names]
    source = "\n".join([f"#!lua{flags}", *parts])
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


EXPORT = load("export.lua", flags=" flags=no-writes,allow-cross-slot-keys")
IMPORT = load("counters.lua", "import.lua")


class RedisTransfer:
    def __init__(self, pipeline: RedisPipeline) -> None:
        self._pipeline = pipeline

    async def export(self, prefix: str) -> AsyncIterator[list[Entry]]:
        async for address, found in self._pipeline.scan_steps(f"{{{prefix}*}}"):
            # A key that SCAN gives twice, it mostly gives at once.
            if keys := list(filter(_COUNTER_KEY.fullmatch, dict.fromkeys(found))):
                yield await self._read(address, keys)

    async def _read(self, address: str, keys: list[bytes]) -> list[Entry]:
        [reply] = await self._pipeline.reads([Call((0, *keys), EXPORT, at=address)])
        places = range(len(keys))
        found = checked(reply)
        # What is being moved to another server just now, that server must be asked for.
        if elsewhere := [place for place in places if found[2 * place] == ELSEWHERE]:
            for place in elsewhere:
                key = keys[place].decode()
                found[2 * place : 2 * place + 2] = await self._pipeline.reads([Call(("GET", key)), Call(("PTTL", key))])
        return [entry for place in places if (entry := _entry(keys[place], *found[2 * place : 2 * place + 2]))]

    async def progress(self, record: str) -> Progress:
        return _progress(await self._pipeline.read("GET", _key(record)))

    async def apply(
        self, record: str, before: Progress, after: Progress, entries: Sequence[Entry], *, keep: int
    ) -> Progress:
        call = import_call(IMPORT, _key(record), (_text(before), _text(after), keep), entries)
        reply = checked(*await self._pipeline.replies([call]))
        if isinstance(reply, int):
            raise EntryIsForeign(reply)
        return _progress(reply)


def import_call(script: Script, record: str, arguments: Sequence[Argument], entries: Sequence[Entry]) -> Call:
    """May be sent twice, because the record then says that it has been done."""
    keys = [record, *(f"{{{entry.name}}}" for entry in entries)]
    values: list[Argument] = []
    for entry in entries:
        values += (entry.value, "" if entry.ttl is None else entry.ttl)
    return Call((len(keys), *keys, *arguments, *values), script, repeatable=True)


def checked(reply: Any) -> Any:
    if isinstance(reply, Problem):
        raise reply
    return reply


def _entry(key: bytes, text: Any, milliseconds: Any) -> Entry | None:
    """None for what is no counter, or gone since the scan."""
    if isinstance(text, NotACounter) or (value := integer(checked(text))) is None:
        return None
    left = checked(milliseconds)
    return Entry(key[1:-1].decode(), value, None if left < 0 else max(1, math.ceil(left / 1000)))


def _key(record: str) -> str:
    # No caller's counter starts with an underscore.
    return f"{{_imports}}:idem:{record}"


def _text(progress: Progress) -> str:
    if progress == Progress():
        return ""
    return f"{progress.applied} {'done' if progress.done else 'open'} {progress.digest}"


def _progress(text: bytes | None) -> Progress:
    if not text:
        return Progress()
    applied, state, digest = text.decode().split(" ")
    return Progress(int(applied), digest, state == "done")
