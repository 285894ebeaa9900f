"""The Lua scripts that change counters."""

from importlib.resources import files

from evenkeel.redis.scripts import load

_HERE = files(__package__) / "lua"
CREATION, SERIES_OF = _HERE / "creation.lua", _HERE / "series_of.lua"
"""Parts of every script that makes counters."""

_BATCH = (_HERE / "receipt.lua", CREATION, SERIES_OF, _HERE / "exact.lua", _HERE / "batch.lua")

SUM = load(_HERE / "receipt.lua", CREATION, SERIES_OF, _HERE / "sum.lua")
BATCH = load(*_BATCH)
DELETIONS = load(*_BATCH, flags=["allow-oom"])
"""For batches that only delete. They free memory, so they run when there is none."""

SERIES = load(_HERE / "series.lua", flags=["no-writes"])
