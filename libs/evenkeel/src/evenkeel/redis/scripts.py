"""Lua scripts from files."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """`sha` is what EVALSHA calls the script by."""

    source: str
    sha: str


def load(*parts: Traversable, flags: Sequence[str] | None = ()) -> Script:
    """Files put together as one script, with flags of https://redis.io/docs/latest/develop/programmability/lua-api/.

    A script with flags, even with none of them, does not begin where it could not finish: without memory, without a
    disk, on a read-only replica. `None` makes a script that fails at its first write instead, and may delete when
    memory is full.
    """
    first = [] if flags is None else [f"#!lua flags={','.join(flags)}" if flags else "#!lua"]
    source = "\n".join([*first, *(part.read_text(encoding="utf-8") for part in parts)])
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
