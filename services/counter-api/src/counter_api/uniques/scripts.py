"""The Lua script beside this module."""

from importlib.resources import files

from counter_api.storage.scripts import load

_CHANGE = files(__package__) / "change.lua"

ADD = load(_CHANGE)
FORGET = load(_CHANGE, flags=" flags=allow-oom")
"""That is how memory gets free again."""
