"""The fleet: which replicas of a service run, and what each is doing.

* `heartbeat`: what a replica says about itself, and what readers make of it.
* `rates`: totals become rates over the last seconds.
* `fleet`: sends the heartbeats of this replica, and reads those of all replicas while somebody looks.
* `routes`: the fleet over HTTP, once or every second.
"""
