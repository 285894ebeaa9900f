"""The Lua scripts of the index."""

from importlib.resources import files

from counter_api.counters.scripts import SERIES_OF
from evenkeel.redis.scripts import load

_HERE = files(__package__) / "lua"

LIST = load(_HERE / "list.lua")
NAMES = load(_HERE / "names.lua", flags=["no-writes"])
LACKING = load(_HERE / "lacking.lua", flags=["no-writes"])
MARK = load(_HERE / "mark.lua")
LEASE = load(_HERE / "lease.lua")

# These free memory, so they run when there is none.
UNLIST = load(_HERE / "unlist.lua", flags=["allow-oom"])
FORGET = load(SERIES_OF, _HERE / "forget.lua", flags=["allow-oom"])

HELD = load(_HERE / "held.lua", flags=["no-writes", "allow-cross-slot-keys"])
