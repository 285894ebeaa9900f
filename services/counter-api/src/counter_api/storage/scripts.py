"""The Lua scripts beside this module."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    source: str
    sha: str


def _load(*names: str, flags: str = "") -> Script:
    # The first line makes Redis refuse a script that writes before it starts where it could not finish (out of
    # memory, read-only replica, disk failure), instead of at its first write.
    folder = files(__package__)
    source = "\n".join([f"#!lua{flags}", *(folder.joinpath(name).read_text(encoding="utf-8") for name in names)])
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


SUM = _load("receipt.lua", "sum.lua")
BATCH = _load("receipt.lua", "exact.lua", "batch.lua")
DELETIONS = _load("receipt.lua", "exact.lua", "batch.lua", flags=" flags=allow-oom")
"""For batches that only delete: that is how memory gets free again."""

SERIES = _load("series.lua", flags=" flags=no-writes")
