"""Scenarios that break nothing: large work, changed tables, a second database, new keys, a new primary."""

from verify.cache import addresses, ddl, failover, rotation, second_database, transactions
from verify.cache.faults import USERS
from verify.cache.scene import Scenario

SCENARIOS = {
    "bulk": Scenario("postgres", transactions.bulk),
    "open-transaction": Scenario("postgres", transactions.stay_open),
    "ddl": Scenario("postgres", ddl.change_table),
    "addresses": Scenario("postgres", addresses.change_hands),
    "two-databases": Scenario("redis-cache", second_database.share_redis),
    "rotate-keys": Scenario(USERS, rotation.rotate),
    "sentinel-failover": Scenario(USERS, failover.fail_over),
}
