"""Redis servers: one by its address, the primary that Sentinel names, or the nodes of a Cluster.

    client = connect_to_primary("redis+sentinel://…", slot_of="{book}", name="bookshop")

`connecting` makes clients of one server whose commands are never sent twice on their own. `urls` is the grammar of the
URLs. `topology`, `sentinel` and `cluster` know which server has a key, `opening` chooses between them. `primary` makes
clients that find their server themselves, again and again; `sidecar` keeps a replica behind such a client's server.
`scripts` loads Lua files. `combining` puts many callers' commands into one round trip.
"""

from evenkeel.redis.connecting import connect
from evenkeel.redis.opening import topology_of
from evenkeel.redis.primary import connect_to_primary
from evenkeel.redis.sidecar import following
from evenkeel.redis.urls import Credentials

__all__ = ["Credentials", "connect", "connect_to_primary", "following", "topology_of"]
