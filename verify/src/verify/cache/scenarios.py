"""Scenarios that break nothing: large work, changed tables, neighbours, new keys, a new primary."""

from verify.cache import addresses, failover, neighbours, rotation, table, transactions
from verify.cache.faults import USERS
from verify.cache.scene import Scenario

SCENARIOS = {
    "bulk": Scenario("postgres", transactions.bulk),
    "open-transaction": Scenario("postgres", transactions.stay_open),
    "ddl": Scenario("postgres", table.change),
    "addresses": Scenario("postgres", addresses.change_hands),
    "two-databases": Scenario("redis-cache", neighbours.move_in),
    "rotate-keys": Scenario(USERS, rotation.rotate),
    "sentinel-failover": Scenario(USERS, failover.fail_over),
}
