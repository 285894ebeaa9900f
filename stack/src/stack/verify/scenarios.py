"""What may be done to a service that is not broken: large work, other tables, neighbours, new keys, a new primary."""

from stack.verify import addresses, failover, neighbours, rotation, table, transactions
from stack.verify.deployment import USERS, Local
from stack.verify.scene import Scenario

SCENARIOS = {
    "bulk": Scenario("postgres", transactions.bulk),
    "open-transaction": Scenario("postgres", transactions.stay_open),
    "ddl": Scenario("postgres", table.change),
    "addresses": Scenario("postgres", addresses.change_hands),
    "two-databases": Scenario("redis-cache", neighbours.move_in),
    "rotate-keys": Scenario(USERS, rotation.rotate),
    "sentinel-failover": Scenario(USERS, failover.fail_over),
}


def possible(local: Local) -> list[str]:
    """Those that need nothing but what is the stack's own."""
    return [name for name, scenario in SCENARIOS.items() if scenario.service is None or local.pids(scenario.service)]
