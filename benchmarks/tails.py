"""The slowest answers to a mixed load, at half of the rate that saturates the machine.

Two replicas of each service run as `make up` starts them, behind the gateway. The load goes through the gateway, and
directly to the replicas. The same load on a bare ASGI function shows what the load itself adds. Deployments without a
disk show what waits for an fsync.
"""

import asyncio
import contextlib
import itertools
import json
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from benchmarks.contestants import programs
from benchmarks.goals import Goal, report
from benchmarks.http_requests import get, with_body
from benchmarks.open_loop import Latencies, Load, Request, quantile
from benchmarks.releases import HERE, Release
from benchmarks.rounds import Options
from benchmarks.serving import running
from benchmarks.tables import show
from benchmarks.users import insert_users, read_all

from stack.layout import free_port

USERS = 200_000
HOT = range(1, 1_001)
CHANGED = range(1_001, 11_001)
COLD = range(11_001, USERS + 1)
COUNTERS = 100

SHARES = {"hit": 80, "cold": 10, "PATCH": 5, "increment": 5}
"""Percent of the requests."""

OUTSTANDING = 64
"""Requests under way at any time, to find the rate that saturates."""

QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}

SERVICES = ("user-api", "counter-api")
DIRECT = "directly"
GATEWAY = "through the gateway"

IN_MEMORY = Path("/dev/shm")  # noqa: S108 (a directory is made below it)
"""On Linux, a folder without a disk: nothing that is stored there waits for an fsync."""

Ports = Mapping[str, Sequence[int]]


def mixed(seed: int) -> Iterator[Request]:
    """The mixed load. Each seed has cold users of its own."""
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
    memory = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with contextlib.ExitStack() as stack:
        ways: dict[str, Ports] = {}
        for release in options.releases:
            direct, gateway = stack.enter_context(deployed(release))
            ways |= {release.called(DIRECT): direct, release.called(GATEWAY): gateway}
        if memory:
            direct, gateway = stack.enter_context(deployed(HERE, memory))
            ways |= {f"{DIRECT}, no disk": direct, f"{GATEWAY}, no disk": gateway}
        [floor] = stack.enter_context(running([programs.floor()], None))
        ways["floor: a bare ASGI function"] = {service: [floor.port] for service in SERVICES}
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_measured(ways, options))
    _show(found)
    if options.against is not None:
        report(
            Goal(
                f"p99.9 {name} / at {options.against.name}",
                quantile(found[name].all, 0.999) / quantile(found[options.against.called(name)].all, 0.999),
                most=0.5,
            )
            for name in (DIRECT, GATEWAY)
        )


async def _measured(ways: Mapping[str, Ports], options: Options) -> dict[str, Latencies]:
    loads = {name: Load(ports, mixed(number)) for number, (name, ports) in enumerate(ways.items())}
    saturated = {}
    for name, load in loads.items():
        await load.saturate(1, outstanding=OUTSTANDING)  # it opens the connections
        saturated[name] = await load.saturate(2 * options.seconds, outstanding=OUTSTANDING)
        print(f"saturated {name}: {saturated[name]:,.0f} a second", flush=True)
    # The same for all, so that they can be compared: half of what the slowest way takes.
    rate = min(saturated.values()) / 2
    print(f"then {rate:,.0f} a second for each")
    found = {name: Latencies() for name in loads}
    for _ in range(options.rounds):
        for name, load in loads.items():
            found[name].add(await load.steady(rate, 4 * options.seconds))
    for load in loads.values():
        load.close()
    return found


def _show(found: Mapping[str, Latencies]) -> None:
    names = [*SHARES, "all", "sent late"]
    rows = []
    for way, latencies in found.items():
        columns = {**latencies.by_kind, "all": latencies.all, "sent late": latencies.late}
        for label, share in QUANTILES.items():
            cells = [f"{quantile(columns[name], share) * 1000:.2f}" for name in names]
            rows.append((f"{way}, {label}", *cells))
        if latencies.failures:
            print(f"{way}: {latencies.failures} requests failed")
    show(["ms", *names], rows)


@contextlib.contextmanager
def deployed(release: Release, below: Path | None = None) -> Iterator[tuple[Ports, Ports]]:
    """The local stack of this release, with its data below that folder: the ports of its replicas and of its gateway.
    The caches have the users that hits read.
    """
    with tempfile.TemporaryDirectory(prefix="evenkeel-tails-", dir=below) as folder:
        stack = [str(release.programs / "stack"), "--directory", str(Path(folder) / "stack")]
        try:
            _run([*stack, "up", "--port", str(free_port())])
            status = json.loads(_run([*stack, "status", "--json"]))
            [postgres] = [each["dsn"] for each in status["processes"] if each["service"] == "postgres"]
            asyncio.run(insert_users(postgres, "users", USERS))
            direct = {
                service: [_port(each["url"]) for each in status["processes"] if each["service"] == service]
                for service in SERVICES
            }
            asyncio.run(read_all(direct["user-api"], HOT))
            yield direct, {service: [_port(status["gateway"])] for service in SERVICES}
        finally:
            _run([*stack, "down", "--delete-data"])


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None  # noqa: S101 (the stack names it)
    return port
