"""Counters: rates, large batches, a single caller, and the memory of a replica after a million increments."""

import asyncio
import itertools
import os
import random
import statistics
from collections.abc import Coroutine
from dataclasses import replace
from typing import TypeVar

import uvloop
from benchmarks.alone import median_latencies
from benchmarks.bare_incr import increments, redis_benchmark
from benchmarks.contestants import programs
from benchmarks.goals import Goal, report
from benchmarks.hits import FLOOR
from benchmarks.http_requests import Requests, get, in_turn, with_body
from benchmarks.load import send_all
from benchmarks.rounds import Contestant, Options, compete, show_results
from benchmarks.serving import Cores, Program, counter_api, pinned_servers, redis_database, running
from benchmarks.tables import show

CONNECTIONS = 64
"""Connections of the load."""

COUNTERS = 1000
"""An increment picks one of these at random."""

OPERATIONS = 1000
"""The most operations that the batch endpoint takes in one request."""

REDIS_BENCHMARK_CONNECTIONS = 50
"""The default of redis-benchmark."""

ALONE = 300
"""Requests of the single caller in each round."""

MILLION = 1_000_000

TUTORIAL = "tutorial: Redis INCR"
HOT = "counter-api: one hot counter"
TUTORIAL_MANY = f"tutorial: {COUNTERS:,} counters"
MANY = f"counter-api: {COUNTERS:,} counters"
BATCHES = "counter-api: batches, one counter"
BATCHES_MANY = f"counter-api: batches, {COUNTERS:,}"

T = TypeVar("T")


def measure(options: Options) -> None:
    options = replace(options, connections=CONNECTIONS)
    cores = Cores.of_this_machine()
    with pinned_servers(cores.load) as servers:
        redis = servers.redis_counters
        tutorial = programs.tutorial("03_incr", REDIS_URL=redis)
        replicas = {
            release: counter_api(redis_database(redis, number), programs=release.programs)
            for number, release in enumerate(options.releases)
        }
        ours = replicas[options.releases[0]]
        contestants = [
            Contestant(FLOOR, programs.floor(), one_counter),
            Contestant("tutorial: counter and lock", programs.tutorial("01_counter"), in_turn([get("/counter")])),
            Contestant(TUTORIAL, tutorial, tutorials_counter),
            *(Contestant(release.called(HOT), replica, one_counter) for release, replica in replicas.items()),
            Contestant(TUTORIAL_MANY, tutorial, tutorials_counters),
            *(Contestant(release.called(MANY), replica, many_counters) for release, replica in replicas.items()),
        ]
        results = compete(contestants, cores.servers, options, lambda _: None)
        show_results(results, results[FLOOR], options)
        cost = {name: result.cost for name, result in results.items()}
        report(
            [
                Goal("one hot counter / floor", cost[FLOOR] / cost[HOT], least=0.61),
                Goal("one hot counter / tutorial", cost[TUTORIAL] / cost[HOT], least=2.5),
                Goal(f"{COUNTERS:,} counters / tutorial", cost[TUTORIAL_MANY] / cost[MANY], least=2),
                *options.kept(results, [HOT, MANY]),
            ]
        )
        _batches(ours, redis, cores, options)
        _alone(ours, tutorial, cores, options)
        _memory(ours, cores)


def increment(name: str) -> bytes:
    return with_body("POST", f"/v1/counters/{name}/increment")


def tutorials_increment(name: str) -> bytes:
    return with_body("POST", f"/counter/{name}")


NAMES = [f"c{n}" for n in random.Random(1).choices(range(COUNTERS), k=50_000)]

one_counter = in_turn([increment("hot")])
many_counters = in_turn([increment(name) for name in NAMES])
tutorials_counter = in_turn([tutorials_increment("hot")])
tutorials_counters = in_turn([tutorials_increment(name) for name in NAMES])


def _batch_of(counters: int) -> Requests:
    operations = [{"name": f"b{n % counters}"} for n in range(OPERATIONS)]
    return in_turn([with_body("POST", "/v1/counters:batch", {"operations": operations})])


def _batches(ours: Program, redis: str, cores: Cores, options: Options) -> None:
    contestants = [
        Contestant(BATCHES, ours, _batch_of(1)),
        Contestant(BATCHES_MANY, ours, _batch_of(COUNTERS)),
    ]
    results = compete(contestants, cores.servers, replace(options, connections=2), lambda _: None)
    batches, many = (results[name].rate * OPERATIONS for name in (BATCHES, BATCHES_MANY))
    # The client runs on the core of the service's process; Redis stays on its own.
    os.sched_setaffinity(0, {cores.servers})
    rates = [
        _run(increments(redis, connections=REDIS_BENCHMARK_CONNECTIONS, seconds=options.seconds))
        for _ in range(options.rounds)
    ]
    reference = [redis_benchmark(redis, connections=REDIS_BENCHMARK_CONNECTIONS) for _ in range(options.rounds)]
    os.sched_setaffinity(0, {cores.load})
    # The faster of the two clients counts: the comparison is with Redis' limit, not with that of a client.
    bare = max(statistics.median(rates), statistics.median(rate or 0 for rate in reference))
    show(
        ["", "increments/s"],
        [
            (f"batches of {OPERATIONS:,}, one counter", f"{batches:,.0f}"),
            (f"batches of {OPERATIONS:,}, {COUNTERS:,} counters", f"{many:,.0f}"),
            ("bare INCRs" + (" (redis-benchmark is not installed)" if None in reference else ""), f"{bare:,.0f}"),
        ],
    )
    report([Goal(f"increments in batches of {OPERATIONS} / bare INCR (rates)", batches / bare, least=1)])


def _alone(ours: Program, tutorial: Program, cores: Cores, options: Options) -> None:
    with running([ours, tutorial], cores.servers) as servers:
        mine, theirs = median_latencies(
            list(zip(servers, (one_counter, tutorials_counter), strict=True)), ALONE * options.rounds
        )
    show(
        ["one caller alone, p50 in µs", "counter-api", "tutorial"],
        [("increment", f"{mine * 1e6:,.0f}", f"{theirs * 1e6:,.0f}")],
    )
    report([Goal("latency of one caller alone / tutorial", mine / theirs, most=1.20)])


def _memory(ours: Program, cores: Cores) -> None:
    with running([ours], cores.servers) as [server]:
        sizes = []
        for count in (MILLION // 10, MILLION):  # the first operations fill what does not grow any further
            requests = itertools.islice(many_counters(), count)
            if failures := _run(send_all(server.port, requests, connections=CONNECTIONS)).failures:
                raise RuntimeError(f"{failures} of {count} requests failed")
            sizes.append(server.resident)
    before, after = sizes
    show(
        ["memory of the replica", "MiB"],
        [("before", f"{before / 2**20:.1f}"), (f"{MILLION:,} increments later", f"{after / 2**20:.1f}")],
    )
    report([Goal(f"memory after {MILLION:,} more increments / before", after / before, most=1.02, noise=0)])


def _run(work: Coroutine[None, None, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
