"""What replicas cost while nothing is requested, and what their start costs."""

import dataclasses
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.goals import Goal, report
from benchmarks.releases import Release
from benchmarks.rounds import Options
from benchmarks.serving import Cores, Program, Server, counter_api, pinned_servers, running, user_api
from benchmarks.tables import show
from benchmarks.users import populate
from redis import Redis
from tests.support.servers import Servers

SETTLING = 5.0
"""Seconds after the start that do not count."""

RELAY = "user-api, the relay"
STANDBY = "user-api, another replica"
COUNTERS = "counter-api"


@dataclass(frozen=True)
class Cost:
    """What one replica adds."""

    commands: float
    """Redis commands a second, those inside of scripts included."""
    resident: float
    """MiB."""
    core: float
    """Share of a core."""
    start: float
    """Seconds of CPU from its start until it is ready."""


def measure(options: Options) -> None:
    found: dict[str, Cost] = {}
    cores = Cores.of_this_machine()
    with pinned_servers(cores.load) as servers:
        for number, release in enumerate(options.releases):
            database = populate(servers.postgres, f"rest_{number}", 1_000, release)
            costs = _costs(servers, database, release, cores, options)
            found |= {release.called(name): cost for name, cost in costs.items()}
    show(
        ["", "commands/s", "MiB", "of a core", "CPU to start, s"],
        [
            (name, f"{cost.commands:.0f}", f"{cost.resident:.0f}", f"{cost.core:.2%}", f"{cost.start:.2f}")
            for name, cost in found.items()
        ],
    )
    report(_goals(found, options))


def _costs(servers: Servers, database: str, release: Release, cores: Cores, options: Options) -> dict[str, Cost]:
    users = user_api(database, servers.redis_cache, tiers="memory,redis", programs=release.programs)
    counters = counter_api(servers.redis_counters, programs=release.programs)
    seconds = 5 * options.seconds
    start, start_of_counters = (_start(program, cores, options.rounds) for program in (users, counters))
    with Redis.from_url(servers.redis_cache) as cache, Redis.from_url(servers.redis_counters) as counts:
        with running([users], cores.servers) as [relay]:
            alone = _rested(cache, relay, seconds, start)
            with running([_named(users, "another")], cores.servers) as [another]:
                beside = _rested(cache, another, seconds, start)
        with running([counters], cores.servers) as [counter]:
            counting = _rested(counts, counter, seconds, start_of_counters)
    return {
        RELAY: alone,
        STANDBY: dataclasses.replace(beside, commands=beside.commands - alone.commands),
        COUNTERS: counting,
    }


def _rested(redis: "Redis", server: Server, seconds: float, start: float) -> Cost:
    """What the server costs at rest; the commands are those of all clients."""
    time.sleep(SETTLING)
    commands, used, began = _commands(redis), server.cpu_seconds, time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    return Cost(
        (_commands(redis) - commands) / elapsed,
        server.resident / 2**20,
        (server.cpu_seconds - used) / elapsed,
        start,
    )


def _commands(redis: "Redis") -> int:
    return sum(statistic["calls"] for statistic in redis.info("commandstats").values())


def _start(program: Program, cores: Cores, rounds: int) -> float:
    used = []
    for _ in range(rounds):
        with running([program], cores.servers) as [server]:
            used.append(server.cpu_seconds)
    return statistics.median(used)


def _named(program: Program, name: str) -> Program:
    return dataclasses.replace(program, environment={**program.environment, "USER_API_REPLICA_NAME": name})


def _goals(found: Mapping[str, Cost], options: Options) -> Iterator[Goal]:
    yield Goal("commands a second of the relay's replica", found[RELAY].commands, most=40)
    yield Goal("commands a second of another replica of user-api", found[STANDBY].commands, most=20)
    yield Goal("commands a second of a replica of counter-api", found[COUNTERS].commands, most=20)
    yield Goal("MiB of a replica of user-api", max(found[RELAY].resident, found[STANDBY].resident), most=75)
    yield Goal("MiB of a replica of counter-api", found[COUNTERS].resident, most=55)
    yield Goal(
        "percent of a core, the busiest replica",
        max(found[name].core for name in (RELAY, STANDBY, COUNTERS)) * 100,
        most=0.5,
    )
    if options.against is not None:
        for name in (RELAY, COUNTERS):
            before = found[options.against.called(name)].start
            yield Goal(
                f"CPU to start {name.split(',')[0]} / at {options.against.name}", found[name].start / before, most=0.5
            )
