"""Cached reads: user-api, the ways of tutorials, and other caches, all compared with the floor."""

from collections.abc import Iterator, Mapping

from benchmarks.contestants import programs
from benchmarks.goals import Goal, report
from benchmarks.http_requests import in_turn
from benchmarks.rounds import Contestant, Options, Result, compete, show_results
from benchmarks.serving import Cores, pinned_servers, redis_database, user_api
from benchmarks.users import BATCH, add_template_table, batches, populate, reads, warm

USERS = 100

FLOOR = "floor: a bare ASGI function"
TUTORIAL = "tutorial: Redis cache"
CASHEWS = "cashews: Redis"
CASHEWS_CLIENT = "cashews: client-side cache"
FASTAPI_CACHE2 = "fastapi-cache2: Redis"
MEMORY = "user-api: memory hit"
REDIS = "user-api: Redis hit"
BATCHES = "user-api: 100 ids, all in Redis"


def measure(options: Options) -> None:
    cores = Cores.of_this_machine()
    ids = range(1, USERS + 1)
    users = in_turn(reads(ids))
    with pinned_servers(cores.load) as servers:
        ours: list[Contestant] = []
        for number, release in enumerate(options.releases):
            database = populate(servers.postgres, f"hits_{number}", USERS, release)
            cache = redis_database(servers.redis_cache, number)
            memory, redis = (
                user_api(database, cache, tiers=tiers, programs=release.programs) for tiers in ("memory,redis", "redis")
            )
            ours += [
                Contestant(release.called(MEMORY), memory, users, b'"source":"memory"'),
                Contestant(release.called(REDIS), redis, users, b'"source":"redis"'),
                Contestant(release.called(BATCHES), redis, in_turn(list(batches(ids))), b'"missing":[]'),
            ]
        theirs = populate(servers.postgres, "hits_theirs", USERS)
        add_template_table(theirs, USERS)
        # The tutorial and cashews give their keys the same names.
        cache, tutorials_cache = (redis_database(servers.redis_cache, len(options.releases) + n) for n in range(2))
        contestants = [
            *ours,
            Contestant(FLOOR, programs.floor(), users),
            Contestant(
                "tutorial: dict cache", programs.tutorial("04_dict", DATABASE_URL=theirs), in_turn(reads(ids, "/user"))
            ),
            Contestant(
                TUTORIAL,
                programs.tutorial("06_redis", DATABASE_URL=theirs, REDIS_URL=tutorials_cache),
                in_turn(reads(ids, "/user/redis")),
            ),
            Contestant(CASHEWS, programs.cashews(theirs, cache), users),
            Contestant(CASHEWS_CLIENT, programs.cashews(theirs, cache, client_side=True), users),
            Contestant(FASTAPI_CACHE2, programs.fastapi_cache2(theirs, cache), users),
        ]
        results = compete(contestants, cores.servers, options, lambda running: warm(running[: len(ours)], ids))
    show_results(results, results[FLOOR], options)
    report(_goals(results, options))


def _goals(results: Mapping[str, Result], options: Options) -> Iterator[Goal]:
    cost = {name: result.cost for name, result in results.items()}
    yield Goal("memory hit / floor", cost[FLOOR] / cost[MEMORY], least=0.87)
    yield Goal("Redis hit / floor", cost[FLOOR] / cost[REDIS], least=0.51)
    yield Goal("memory hit / tutorial's Redis cached read", cost[TUTORIAL] / cost[MEMORY], least=6)
    yield Goal("Redis hit / tutorial's Redis cached read", cost[TUTORIAL] / cost[REDIS], least=4)
    yield Goal("memory hit / cashews' client-side hit", cost[CASHEWS_CLIENT] / cost[MEMORY], least=4)
    yield Goal("Redis hit / cashews' Redis hit", cost[CASHEWS] / cost[REDIS], least=4)
    yield Goal("Redis hit / fastapi-cache2's Redis hit", cost[FASTAPI_CACHE2] / cost[REDIS], least=4)
    yield Goal(f"users in batches of {BATCH} / one by one", cost[REDIS] / cost[BATCHES] * BATCH, least=10)
    yield from options.kept(results, [MEMORY, REDIS, BATCHES])
