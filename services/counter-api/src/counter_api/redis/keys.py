"""The names of all keys in the Redis of the counters.

The braces are Redis Cluster's hash tag: keys with the same tag are on one server, so one script can use them together.
A caller's name begins with a letter or a digit. The tags of the service's own keys begin with an underscore, so that no
caller's name is one of them.
"""

# Of one counter: its name, then the sender, the record or the unit, such as {visits}:series:hour.
COUNTER = "{%s}"
RECEIPT = "{%s}:op:%s"
RECORD = "{%s}:idem:%s"
SERIES = "{%s}:series:%s"
"""series_of.lua makes this name as well."""

UNIQUES = "{%s}:uniques"
UNIQUES_RECORD = "{%s}:uniques:idem:%s"

# A request about many counters has its record under one of these names, such as {_batches}:idem:…
BATCHES = "_batches"
IMPORTS = "_imports"

IMPORT_IN_SLOT = "{_%d}:import:%s"
"""A number that puts the key into the wanted slot, and the record of the import."""

REQUESTS = "{_requests}"
REPLICAS_SEEN = "{_requests}:seen"

FLEET = "{_fleet}"
"""The index of heartbeats. Those of a replica are under {_fleet}:<its name>."""

# Of one shard of the index of names.
NAMES = "{_names:%d}"
STAMPS = "{_names:%d}:stamps"
STATE = "{_names:%d}:state"

UPKEEP_ROUND = "{_names}:round"
UPKEEP_COMPLETING = "{_names}:completing"
PAUSE = "%s:pause"
"""Behind the name of a lease: how long no replica does its work."""

PROBE = "{_probe:%d}"
"""The number is chosen so that the key is on a given server."""

ALL_COUNTERS = "{[A-Za-z0-9]*}"
"""For SCAN. What belongs to a counter has more behind the brace, and so does not match."""
