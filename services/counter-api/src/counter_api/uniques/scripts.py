"""The Lua script of uniques."""

from importlib.resources import files

from evenkeel.redis.scripts import load

_CHANGE = files(__package__) / "lua" / "change.lua"

ADD = load(_CHANGE)
FORGET = load(_CHANGE, flags=["allow-oom"])
"""It frees memory, so it runs when there is none."""
