"""What reaches PostgreSQL: reads, cold reads and writes of user-api, compared with the template and other caches."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.alone import median_latencies
from benchmarks.contestants import programs
from benchmarks.goals import Goal, report
from benchmarks.http_requests import Requests, in_turn, once, with_body
from benchmarks.rounds import Contestant, Options, Result, compete, show_results
from benchmarks.serving import Cores, Program, pinned_servers, redis_database, running, user_api
from benchmarks.tables import show
from benchmarks.users import add_template_table, populate, reads

USERS = 200_000
READ = range(1, 1_001)
CHANGED = range(1_001, 11_001)
COLD = range(11_001, USERS + 1)
"""Each of these is read once."""

ALONE = 100
"""Requests of a caller alone, for each round."""

TEMPLATE_READ = "template: read"
TEMPLATE_PATCH = "template: PATCH"
TEMPLATE_POST = "template: POST"
CASHEWS = "cashews: cold read"
FASTAPI_CACHE2 = "fastapi-cache2: cold read"
READ_PAST = "user-api: read from PostgreSQL"
COLD_READ = "user-api: cold read"
PATCH = "user-api: PATCH"
POST = "user-api: POST"


def measure(options: Options) -> None:
    cores = Cores.of_this_machine()
    with pinned_servers(cores.load) as servers:
        ours: dict[Program, Sequence[Contestant]] = {}
        for number, release in enumerate(options.releases):
            database = populate(servers.postgres, f"database_{number}", USERS, release)
            cache = redis_database(servers.redis_cache, number)
            program = user_api(database, cache, tiers="memory,redis", programs=release.programs)
            ours[program] = [
                Contestant(release.called(READ_PAST), program, past_caches(), b'"source":"database"'),
                Contestant(release.called(COLD_READ), program, cold_reads(), b'"source":"database"'),
                Contestant(release.called(PATCH), program, patches()),
                Contestant(release.called(POST), program, posts()),
            ]
        theirs = populate(servers.postgres, "database_theirs", 0)
        add_template_table(theirs, USERS)
        template = programs.template(theirs)
        caches = [redis_database(servers.redis_cache, len(options.releases) + n) for n in range(2)]
        contestants = [
            *itertools.chain.from_iterable(ours.values()),
            Contestant(TEMPLATE_READ, template, in_turn(reads(READ))),
            Contestant(TEMPLATE_PATCH, template, patches()),
            Contestant(TEMPLATE_POST, template, posts()),
            Contestant(CASHEWS, programs.cashews(theirs, caches[0]), cold_reads()),
            Contestant(FASTAPI_CACHE2, programs.fastapi_cache2(theirs, caches[1]), cold_reads()),
        ]
        results = compete(contestants, cores.servers, options, lambda _: None)
        show_results(results, results[TEMPLATE_READ], options)
        report(_goals(results, options))
        _alone(template, list(ours), cores, options)


def past_caches() -> Requests:
    return in_turn(reads(READ, fields="cache-control: no-cache\r\n"))


def cold_reads() -> Requests:
    return once(itertools.chain.from_iterable(reads([n]) for n in COLD))


def patches() -> Requests:
    numbers = itertools.count()
    return once(
        with_body("PATCH", f"/v1/users/{n}", {"name": f"Renamed {next(numbers)}"}) for n in itertools.cycle(CHANGED)
    )


_created = itertools.count()


def posts() -> Requests:
    return once(with_body("POST", "/v1/users", {"email": f"new{n}@example.com", "name": f"New {n}"}) for n in _created)


def _goals(results: Mapping[str, Result], options: Options) -> Iterator[Goal]:
    cost = {name: result.cost for name, result in results.items()}
    read = cost[TEMPLATE_READ]
    yield Goal("read from PostgreSQL / template's", read / cost[READ_PAST], least=2)
    yield Goal("cold read (lease, load, fill) / template's plain read", read / cost[COLD_READ], least=1.5)
    yield Goal("PATCH / template's", cost[TEMPLATE_PATCH] / cost[PATCH], least=1.5)
    yield Goal("POST / template's", cost[TEMPLATE_POST] / cost[POST], least=1.5)
    yield from options.kept(results, [READ_PAST, COLD_READ, PATCH, POST])


def _alone(template: Program, ours: Sequence[Program], cores: Cores, options: Options) -> None:
    """The order of the callers is that of the releases, the template last."""
    with running([*ours, template], cores.servers) as servers:
        requests = ALONE * options.rounds
        changed = median_latencies([(server, patches()) for server in servers], requests)
        plain = [cold_reads() for _ in ours]
        found = median_latencies(list(zip(servers, [*plain, in_turn(reads(READ))], strict=True)), requests)
    names = [*(release.called("user-api") for release in options.releases), "template"]
    show(
        ["one caller alone, p50 in µs", *names],
        [
            (what, *(f"{figure * 1e6:,.0f}" for figure in figures))
            for what, figures in (("PATCH", changed), ("cold read (template: read)", found))
        ],
    )
    report(
        Goal(f"one caller alone: {what} / template's", figures[0] / figures[-1], most=0.7)
        for what, figures in (("PATCH", changed), ("cold read", found))
    )
