"""Lua scripts, and those beside this module."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    source: str
    sha: str


def load(*parts: Traversable, flags: str = "") -> Script:
    """Files put together as one script."""
    # The first line makes Redis refuse a script that writes before it starts where it could not finish (out of
    # memory, read-only replica, disk failure), instead of at its first write.
    source = "\n".join([f"#!lua{flags}", *(part.read_text(encoding="utf-8") for part in parts)])
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


_HERE = files(__package__)
CREATION, SERIES_OF = _HERE / "creation.lua", _HERE / "series_of.lua"
"""Parts of every script that makes counters."""

_BATCH = (_HERE / "receipt.lua", CREATION, SERIES_OF, _HERE / "exact.lua", _HERE / "batch.lua")

SUM = load(_HERE / "receipt.lua", CREATION, SERIES_OF, _HERE / "sum.lua")
BATCH = load(*_BATCH)
DELETIONS = load(*_BATCH, flags=" flags=allow-oom")
"""For batches that only delete: that is how memory gets free again."""

SERIES = load(_HERE / "series.lua", flags=" flags=no-writes")
