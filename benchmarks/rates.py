"""Reads a second of the tutorials' ways and of user-api, compared with the floor."""

from collections.abc import Iterator, Mapping

from benchmarks.goals import Goal, report
from benchmarks.rounds import Contestant, Options, Result, compete
from benchmarks.serving import Cores, factory, pinned_servers, user_api
from benchmarks.users import BATCH, batches, in_turn, populate, warm

USERS = 100

FLOOR = "floor: a bare ASGI function"
TUTORIAL = "tutorial: Redis cache"
MEMORY = "user-api: memory hit"
REDIS = "user-api: Redis hit"
BATCHES = "user-api: 100 ids, all in Redis"
POSTGRESQL = "user-api: PostgreSQL"


def measure(options: Options) -> None:
    cores = Cores.of_this_machine()
    with pinned_servers(cores.load) as servers:
        database = populate(servers.postgres, "bench", USERS)
        users = in_turn(USERS)
        redis = user_api(database, servers.redis_cache, tiers="redis")
        services = [
            Contestant(
                MEMORY,
                user_api(database, servers.redis_cache, tiers="memory,redis"),
                users,
                b'"source":"memory"',
            ),
            Contestant(REDIS, redis, users, b'"source":"redis"'),
            Contestant(BATCHES, redis, batches(USERS), b'"missing":[]'),
            Contestant(POSTGRESQL, user_api(database, servers.redis_cache, tiers=""), users, b'"source":"database"'),
        ]
        contestants = [
            Contestant(FLOOR, factory("floor"), users),
            Contestant("tutorial: dict cache", factory("tutorial_dict"), users),
            Contestant(TUTORIAL, factory("tutorial_redis_cache", CACHE_URL=servers.redis_cache), users),
            *services,
        ]
        cached = slice(contestants.index(services[0]), contestants.index(services[-1]))
        results = compete(
            contestants, cores.servers, options, lambda running: warm(running[cached], range(1, USERS + 1))
        )
    show(results)
    report(goals(results))


def show(results: Mapping[str, Result]) -> None:
    """Rates, and the server's CPU time for a request. Both are also given relative to the floor."""
    floor = results[FLOOR]
    print(f"{'':32}{'requests/s':>12}{'of the floor':>14}{'CPU us each':>14}{'of the floor':>14}")
    for name, result in results.items():
        speed, thrift = result.rate / floor.rate, floor.cost / result.cost
        print(f"{name:32}{result.rate:12,.0f}{speed:14.2f}{result.cost:14.1f}{thrift:14.2f}")


def goals(results: Mapping[str, Result]) -> Iterator[Goal]:
    floor, tutorial, memory, redis, batch = (results[n].rate for n in (FLOOR, TUTORIAL, MEMORY, REDIS, BATCHES))
    yield Goal("memory hit / floor", memory / floor, least=0.60)
    yield Goal("memory hit / tutorial's Redis cached read", memory / tutorial, least=6)
    yield Goal("Redis hit / floor", redis / floor, least=0.33)
    yield Goal("Redis hit / tutorial's Redis cached read", redis / tutorial, least=4)
    yield Goal(f"users a second, in batches of {BATCH} / one by one", batch * BATCH / redis, least=10)
