"""Real faults of the processes that reading users depends on."""

from verify.deployment import Local
from verify.faults import Fault, frozen, killed

USERS = "user-api"


async def _nothing(_: Local) -> None:
    pass


FAULTS = {
    "none": Fault(None, _nothing),
    "sql": Fault(None, _nothing),
    "kill-user-api": killed(USERS),
    "freeze-user-api": frozen(USERS),
    "restart-user-api": Fault(USERS, Local.restart),
    "freeze-redis": frozen("redis-cache"),
    "kill-redis": killed("redis-cache"),
    "freeze-sidecar": frozen("cache-sidecar"),
    "kill-sidecar": killed("cache-sidecar"),
    "freeze-postgres": frozen("postgres"),
    "kill-postgres": killed("postgres"),
}
