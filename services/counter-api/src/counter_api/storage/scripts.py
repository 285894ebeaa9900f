"""The Lua scripts beside this module."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    source: str
    sha: str


def _load(name: str, flags: str = "") -> Script:
    # The first line makes Redis refuse a script that writes before it starts where it could not finish (out of
    # memory, read-only replica, disk failure), instead of at its first write.
    folder = files(__package__)
    source = "\n".join(
        [
            f"#!lua{flags}",
            folder.joinpath("counter.lua").read_text(encoding="utf-8"),
            folder.joinpath(name).read_text(encoding="utf-8"),
        ]
    )
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


INCREMENT = _load("increment.lua")
PUT = _load("put.lua")
# Deleting is how memory gets free again.
DELETE = _load("delete.lua", " flags=allow-oom")
