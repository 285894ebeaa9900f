"""Counters: rates, large batches, a single caller, and the memory of a replica after a million increments."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import socket
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import uvloop
from benchmarks.bare_incr import increments, redis_benchmark
from benchmarks.goals import Goal, report
from benchmarks.load import send_all
from benchmarks.rates import FLOOR, show
from benchmarks.rounds import Contestant, Options, compete
from benchmarks.serving import Cores, Program, Server, counter_api, factory, pinned_servers, running

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
        ours, tutorial = counter_api(redis), factory("tutorial_redis_counter", COUNTERS_URL=redis)
        contestants = [
            Contestant(FLOOR, factory("floor"), one_counter),
            Contestant("tutorial: counter and lock", factory("tutorial_locked_counter"), one_counter),
            Contestant(TUTORIAL, tutorial, one_counter),
            Contestant(HOT, ours, one_counter),
            Contestant(TUTORIAL_MANY, tutorial, many_counters),
            Contestant(MANY, ours, many_counters),
        ]
        results = compete(contestants, cores.servers, options, lambda _: None)
        show(results)
        rate = {name: result.rate for name, result in results.items()}
        report(
            [
                Goal("one hot counter / floor", rate[HOT] / rate[FLOOR], least=0.30),
                Goal("one hot counter / tutorial", rate[HOT] / rate[TUTORIAL], least=2.5),
                Goal(f"{COUNTERS:,} counters / tutorial", rate[MANY] / rate[TUTORIAL_MANY], least=2),
            ]
        )
        _batches(ours, redis, cores, options)
        _alone(ours, tutorial, cores, options)
        _memory(ours, cores)


def one_counter() -> Iterator[bytes]:
    return itertools.repeat(_post("/v1/counters/hot/increment"))


def many_counters() -> Iterator[bytes]:
    names = random.Random(1).choices(range(COUNTERS), k=50_000)
    return itertools.cycle([_post(f"/v1/counters/c{n}/increment") for n in names])


def _post(path: str, body: bytes = b"") -> bytes:
    fields = b"host: x\r\ncontent-length: %d\r\n" % len(body) + b"content-type: application/json\r\n" * bool(body)
    return b"POST %b HTTP/1.1\r\n%b\r\n%b" % (path.encode(), fields, body)


def _batch_of(counters: int) -> Callable[[], Iterator[bytes]]:
    operations = [{"name": f"b{n % counters}"} for n in range(OPERATIONS)]
    request = _post("/v1/counters:batch", json.dumps({"operations": operations}).encode())
    return lambda: itertools.repeat(request)


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
    print(f"increments a second: {batches:,.0f} in batches of {OPERATIONS} on one counter,", end=" ")
    print(f"{many:,.0f} on {COUNTERS:,} counters, {bare:,.0f} by bare INCRs", end=" ")
    print("(redis-benchmark is not installed)" if None in reference else "(redis-benchmark's, if those are more)")
    report([Goal(f"increments in batches of {OPERATIONS} / bare INCR", batches / bare, least=1)])


def _alone(ours: Program, tutorial: Program, cores: Cores, options: Options) -> None:
    with running([ours, tutorial], cores.servers) as servers:
        mine, theirs = _median_latencies(servers, ALONE * options.rounds)
    print(f"one caller alone waits {mine * 1e6:,.0f} us, with the tutorial {theirs * 1e6:,.0f} us (p50)")
    report([Goal("latency of one caller alone / tutorial", mine / theirs, most=1.20)])


def _median_latencies(servers: Sequence[Server], requests: int) -> list[float]:
    """Seconds. The servers are measured in turn, so that a busy machine affects all of them alike."""
    latencies: list[list[float]] = [[] for _ in servers]
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", s.port))) for s in servers]
        for _ in range(requests):
            for connection, each in zip(connections, latencies, strict=True):
                began = time.perf_counter()
                _ask(connection)
                each.append(time.perf_counter() - began)
    return [statistics.median(each) for each in latencies]


def _ask(connection: socket.socket) -> None:
    connection.sendall(next(one_counter()))
    answer = connection.recv(65536)
    while not answer.endswith(b"}"):
        answer += connection.recv(65536)


def _memory(ours: Program, cores: Cores) -> None:
    with running([ours], cores.servers) as [server]:
        sizes = []
        for count in (MILLION // 10, MILLION):  # the first operations fill what does not grow any further
            requests = itertools.islice(many_counters(), count)
            if failures := _run(send_all(server.port, requests, connections=CONNECTIONS)).failures:
                raise RuntimeError(f"{failures} of {count} requests failed")
            sizes.append(server.resident)
    before, after = sizes
    print(f"memory of the replica: {before / 2**20:.1f} MiB, and {after / 2**20:.1f} MiB {MILLION:,} increments later")
    report([Goal(f"memory after {MILLION:,} more increments / before", after / before, most=1.02)])


def _run(work: Coroutine[None, None, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
