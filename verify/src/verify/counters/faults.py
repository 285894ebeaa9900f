"""Real faults of the processes that counting depends on."""

from verify.deployment import Local
from verify.faults import Fault, frozen, killed

COUNTERS = "counter-api"

UNBROKEN = {
    "none": "nothing is broken",
    "disconnects": "clients hang up in mid-request",
}
"""Phases that do nothing to the service, and are therefore possible everywhere."""

FAULTS = {
    "kill-replica": killed(COUNTERS),
    "freeze-replica": frozen(COUNTERS),
    "restart-replicas": Fault(COUNTERS, Local.restart),
    "kill-gateway": killed("gateway"),
    "kill-redis": killed("redis-counters"),
    "freeze-redis": frozen("redis-counters"),
}
