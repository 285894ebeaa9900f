"""The Lua scripts beside this module."""

from importlib.resources import files

from counter_api.storage.scripts import SERIES_OF, load

_HERE = files(__package__)

LIST = load(_HERE / "list.lua")
NAMES = load(_HERE / "names.lua", flags=" flags=no-writes")
LACKING = load(_HERE / "lacking.lua", flags=" flags=no-writes")
MARK = load(_HERE / "mark.lua")
LEASE = load(_HERE / "lease.lua")

# These free memory, so they may run when there is none.
UNLIST = load(_HERE / "unlist.lua", flags=" flags=allow-oom")
FORGET = load(SERIES_OF, _HERE / "forget.lua", flags=" flags=allow-oom")

HELD = load(_HERE / "held.lua", flags=" flags=no-writes,allow-cross-slot-keys")
