"""Redis servers: clients of one server, of the primary that Sentinel names, or of the nodes of a Cluster.

    client = connect_to_primary("redis+sentinel://…", slot_of="{book}", name="bookshop")

* `urls`: the grammar of the URLs.
* `connecting`: clients of one server. They never send a command twice on their own.
* `topology`: which server has a key. `single_server`, `sentinel` and `cluster` are the three kinds.
* `primary`: clients that find their server again each time that they connect.
* `sidecar`: keeps a replica of the server that such a client is connected to.
* `push`: connections on which Redis pushes invalidations.
* `scripts`: Lua files.
* `combining`: the commands of many callers in one round trip.
"""

from evenkeel.redis.connecting import connect
from evenkeel.redis.primary import connect_to_primary
from evenkeel.redis.sidecar import following
from evenkeel.redis.topology import topology_of
from evenkeel.redis.urls import Credentials

__all__ = ["Credentials", "connect", "connect_to_primary", "following", "topology_of"]
