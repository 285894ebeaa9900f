"""The slowest answers to a mixed load, at half of the rate that saturates the machine.

Two replicas of each service run as `make up` starts them, behind the gateway. The load goes through the gateway, and
directly to the replicas. The same load on a bare ASGI function shows what the load itself adds. Deployments without a
disk show what waits for an fsync.
"""

import asyncio
import contextlib
import itertools
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import uvloop
from benchmarks import pauses
from benchmarks.contestants import programs
from benchmarks.deployment import SERVICES, USERS, Ports, deployed
from benchmarks.goals import Goal, report
from benchmarks.http_requests import get, with_body
from benchmarks.open_loop import Latencies, Load, Request, quantile
from benchmarks.releases import HERE, Release
from benchmarks.rounds import Options
from benchmarks.serving import running
from benchmarks.tables import show
from benchmarks.users import read_all

HOT = range(1, 1_001)
CHANGED = range(1_001, 11_001)
COLD = range(11_001, USERS + 1)
COUNTERS = 100

SHARES = {"hit": 80, "cold": 10, "PATCH": 5, "increment": 5}
"""Percent of the requests."""

OUTSTANDING = 64
"""Requests under way at any time, to find the rate that saturates."""

QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}

DIRECT = "directly"
GATEWAY = "through the gateway"

IN_MEMORY = Path("/dev/shm")  # noqa: S108 (a directory is made below it)
"""On Linux, a folder without a disk: nothing that is stored there waits for an fsync."""


def mixed(seed: int) -> Iterator[Request]:
    """The mixed load. Each seed takes the cold users in an order of its own."""
    chance = random.Random(seed)
    kinds = chance.choices(list(SHARES), list(SHARES.values()), k=10_000)
    cold = itertools.cycle(chance.sample(COLD, len(COLD)))
    for number, kind in enumerate(itertools.cycle(kinds)):
        match kind:
            case "hit":
                yield Request(kind, "user-api", get(f"/v1/users/{chance.choice(HOT)}"))
            case "cold":
                yield Request(kind, "user-api", get(f"/v1/users/{next(cold)}"))
            case "PATCH":
                path, body = f"/v1/users/{chance.choice(CHANGED)}", {"name": f"Renamed {number}"}
                yield Request(kind, "user-api", with_body("PATCH", path, body))
            case _:
                path = f"/v1/counters/c{chance.randrange(COUNTERS)}/increment"
                yield Request(kind, "counter-api", with_body("POST", path))


def measure(options: Options) -> None:
    with tempfile.TemporaryDirectory(prefix="evenkeel-pauses-") as folder:
        found, windows = _deployed_and_measured(Path(folder), options)
        _show(found)
        print("Pauses of the garbage collector under the steady loads, in CPU time:\n")
        commands = [f"{service}.serve" for service in SERVICES]
        show(["", "pauses", "longest, ms", "of the time"], pauses.rows(Path(folder), commands, windows))
    if options.against is not None:
        report(
            Goal(
                f"p99.9 {name} / at {options.against.name}",
                quantile(found[name].all, 0.999) / quantile(found[options.against.called(name)].all, 0.999),
                most=0.5,
            )
            for name in (DIRECT, GATEWAY)
        )


def _deployed_and_measured(folder: Path, options: Options) -> tuple[dict[str, Latencies], list[pauses.Window]]:
    """The latencies by way, and when they were measured. Pauses of the first deployment are in the folder."""
    with contextlib.ExitStack() as stack:
        ways: dict[str, Ports] = {}

        def deploy(
            release: Release, environment: Mapping[str, str], suffix: str = "", below: Path | None = None
        ) -> None:
            direct, gateway = stack.enter_context(deployed(release, environment, below))
            asyncio.run(read_all(direct["user-api"], HOT))  # so that hits are hits
            ways.update({release.called(DIRECT) + suffix: direct, release.called(GATEWAY) + suffix: gateway})

        deploy(HERE, pauses.recording(folder))
        if options.against is not None:
            deploy(options.against, os.environ)
        if os.access(IN_MEMORY, os.W_OK):
            deploy(HERE, os.environ, ", no disk", IN_MEMORY)
        [floor] = stack.enter_context(running([programs.floor()], None))
        ways["floor: a bare ASGI function"] = {service: [floor.port] for service in SERVICES}
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_measured(ways, options))


async def _measured(ways: Mapping[str, Ports], options: Options) -> tuple[dict[str, Latencies], list[pauses.Window]]:
    loads = {name: Load(ports, mixed(number)) for number, (name, ports) in enumerate(ways.items())}
    saturated = {}
    for name, load in loads.items():
        await load.saturate(1, outstanding=OUTSTANDING)  # it opens the connections
        saturated[name] = await load.saturate(2 * options.seconds, outstanding=OUTSTANDING)
    # The same for all, so that they can be compared: half of what the slowest way takes.
    rate = min(saturated.values()) / 2
    show(["answers a second, saturated", ""], [(name, f"{answers:,.0f}") for name, answers in saturated.items()])
    seconds = 4 * options.seconds
    print(f"Then {rate:,.0f} requests a second, {options.rounds} times {seconds:.0f} s for each:\n", flush=True)
    found: dict[str, Latencies] = {name: Latencies() for name in loads}
    windows = []
    for _ in range(options.rounds):
        for name, load in loads.items():
            began = time.monotonic()
            found[name].add(await load.steady(rate, seconds))
            if name in {DIRECT, GATEWAY}:
                windows.append((began, time.monotonic()))
    for load in loads.values():
        load.close()
    return found, windows


def _show(found: Mapping[str, Latencies]) -> None:
    names = [*SHARES, "all", "sent late"]
    rows = []
    for way, latencies in found.items():
        columns = {**latencies.by_kind, "all": latencies.all, "sent late": latencies.late}
        for label, share in QUANTILES.items():
            cells = [f"{quantile(columns[name], share) * 1000:.2f}" if name in columns else "-" for name in names]
            rows.append((f"{way}, {label}", *cells))
        if latencies.failures:
            print(f"{way}: {latencies.failures} requests failed")
    show(["ms", *names], rows)
