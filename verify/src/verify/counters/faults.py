"""Faults done for real to what counting depends on."""

from verify.deployment import Local
from verify.faults import Fault, frozen, killed

COUNTERS = "counter-api"

UNBROKEN = {
    "none": "nothing is broken",
    "disconnects": "clients hang up in mid-request",
}
"""Phases in which nothing is done to the service: they are possible everywhere."""

FAULTS = {
    "kill-replica": killed(COUNTERS),
    "freeze-replica": frozen(COUNTERS),
    "restart-replicas": Fault(COUNTERS, Local.restart),
    "kill-gateway": killed("gateway"),
    "kill-redis": killed("redis-counters"),
    "freeze-redis": frozen("redis-counters"),
}
