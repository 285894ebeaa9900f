"""The cost of a hit with a thousand users, and with a thousand times as many."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.goals import Goal, report
from benchmarks.http_requests import spread
from benchmarks.rounds import Contestant, Options, Result, compete
from benchmarks.serving import Cores, Server, pinned_servers, redis_database, user_api
from benchmarks.tables import show
from benchmarks.users import fill_redis, populate, reads, warm
from redis import Redis

FEW = 1_000
MANY = 1_000_000
BOUND = 10_000
"""The default number of entries in memory."""


@dataclass(frozen=True)
class Case:
    name: str
    tier: str
    users: int
    memory: int
    """The bound of the memory tier, in entries."""
    read: Sequence[int]
    """The ids that the requests read."""


_HOT = random.Random(2).sample(range(1, MANY + 1), FEW)

MEMORY = Case(f"memory hit, {FEW:,} users", "memory", FEW, BOUND, range(1, FEW + 1))
MEMORY_HOT = Case(f"memory hit, {FEW:,} hot of {MANY:,}", "memory", MANY, BOUND, _HOT)
MEMORY_ALL = Case(f"memory hit, {MANY:,} in memory", "memory", MANY, MANY, range(1, MANY + 1))
REDIS = Case(f"redis hit, {FEW:,} users", "redis", FEW, 1, range(1, FEW + 1))
REDIS_ALL = Case(f"redis hit, {MANY:,} users", "redis", MANY, 1, range(1, MANY + 1))
CASES = [MEMORY, MEMORY_HOT, MEMORY_ALL, REDIS, REDIS_ALL]


def measure(options: Options) -> None:
    cores = Cores.of_this_machine()
    with pinned_servers(cores.load) as servers:
        with Redis.from_url(servers.redis_cache) as redis:
            redis.config_set("maxmemory", "4gb")  # large enough for all: this measures no evictions
        caches = {FEW: redis_database(servers.redis_cache, 1), MANY: redis_database(servers.redis_cache, 2)}
        databases = {users: populate(servers.postgres, f"bench_{users}", users) for users in caches}

        def contestant(case: Case) -> Contestant:
            tiers = "memory,redis" if case.tier == "memory" else "redis"
            program = user_api(databases[case.users], caches[case.users], tiers=tiers, memory=case.memory)
            return Contestant(case.name, program, spread(reads(case.read)), f'"source":"{case.tier}"'.encode())

        def fill(running: Sequence[Server]) -> None:
            for users, cache in caches.items():
                fill_redis(cache, users)
            for case, server in zip(CASES, running, strict=True):
                if case.tier == "memory":
                    full = range(1, min(case.memory, case.users) + 1)
                    warm([server], [*full, *case.read] if case is MEMORY_HOT else full)

        results = compete([contestant(case) for case in CASES], cores.servers, options, fill)
    _show(results)
    report(
        Goal(f"CPU of a {case.name} / with {FEW:,}", results[case.name].cost / results[few.name].cost, most=1.10)
        for case, few in ((MEMORY_HOT, MEMORY), (MEMORY_ALL, MEMORY), (REDIS_ALL, REDIS))
    )


def _show(results: Mapping[str, Result]) -> None:
    show(["", "requests/s", "CPU, µs"], [(name, f"{r.rate:,.0f}", f"{r.cost:.1f}") for name, r in results.items()])
