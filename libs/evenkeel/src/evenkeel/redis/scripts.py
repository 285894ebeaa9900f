"""Lua scripts from files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """`sha` is the name of the script for EVALSHA."""

    source: str
    sha: str


def load(*parts: Traversable, flags: Sequence[str] | None = ()) -> Script:
    """Join the files into one script, with flags of https://redis.io/docs/latest/develop/programmability/lua-api/.

    A script with flags, even with an empty list, does not start when it could not finish: without memory, without a
    disk, on a read-only replica. With `None` the script starts anyway, and fails at its first write. So it may delete
    keys when the memory is full.
    """
    first = [] if flags is None else [f"#!lua flags={','.join(flags)}" if flags else "#!lua"]
    source = "\n".join([*first, *(part.read_text(encoding="utf-8") for part in parts)])
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
