"""Side-by-side rates: every contestant in every round, so that a noisy machine is noisy for all of them.

One server process on one core, the load on another; the table gives medians over the rounds and their ratio to the
floor. Only ratios say anything: the machine decides the rest.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import asyncpg
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load import drive
from tests.servers import Servers, embedded

from stack.layout import free_port

BIN = Path(sys.executable).parent
USERS = 100
KEY = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="


@dataclass(frozen=True)
class Contestant:
    name: str
    command: list[str]
    requests: Callable[[], Iterator[bytes]]
    environment: dict[str, str] = field(default_factory=dict)
    ready: str = "/livez"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def post(path: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode()


def one_user() -> Iterator[bytes]:
    return itertools.repeat(get("/v1/users/1"))


def users() -> Iterator[bytes]:
    return itertools.cycle([get(f"/v1/users/{n}") for n in range(1, USERS + 1)])


def one_counter() -> Iterator[bytes]:
    return itertools.repeat(post("/v1/counters/hot/increment"))


def contestants(servers: Servers, database_url: str) -> list[Contestant]:
    user_api = [str(BIN / "user-api"), "serve"]
    counter_api = [str(BIN / "counter-api"), "serve"]
    user_settings = {
        "USER_API_DATABASE_URL": database_url,
        "USER_API_CACHE_URL": servers.redis_cache,
        "USER_API_CACHE_KEYS": KEY,
        "USER_API_MEMORY_TTL": "600",
    }
    return [
        tutorial("floor", "floor", one_user),
        tutorial("tutorial: dict cache", "tutorial_dict", users),
        tutorial("tutorial: Redis cache", "tutorial_redis_cache", users, CACHE_URL=servers.redis_cache),
        Contestant("user-api: memory hit", user_api, users, user_settings),
        Contestant("user-api: Redis hit", user_api, users, user_settings | {"USER_API_CACHE_TIERS": "redis"}),
        Contestant("user-api: PostgreSQL", user_api, users, user_settings | {"USER_API_CACHE_TIERS": ""}),
        tutorial("tutorial: counter and lock", "tutorial_locked_counter", one_counter),
        tutorial("tutorial: Redis INCR", "tutorial_redis_counter", one_counter, COUNTERS_URL=servers.redis_counters),
        Contestant(
            "counter-api: one hot counter", counter_api, one_counter, {"COUNTER_API_REDIS_URL": servers.redis_counters}
        ),
    ]


def tutorial(name: str, factory: str, requests: Callable[[], Iterator[bytes]], **environment: str) -> Contestant:
    uvicorn = [sys.executable, "-m", "uvicorn", "--factory", f"benchmarks.contestants:{factory}", "--no-access-log"]
    return Contestant(name, uvicorn, requests, environment, ready="/v1/users/1")


@contextlib.contextmanager
def serving(contestant: Contestant, core: int) -> Iterator[int]:
    """The contestant on a free port, pinned to a core."""
    port = free_port()
    settings = {"USER_API_PORT": str(port), "COUNTER_API_PORT": str(port)}
    command = [*contestant.command, "--port", str(port)] if "uvicorn" in contestant.command else contestant.command
    process = subprocess.Popen(
        ["taskset", "--cpu-list", str(core), *command],
        env=os.environ | contestant.environment | settings,
        cwd=Path(__file__).resolve().parents[1],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urlopen(Request(f"http://127.0.0.1:{port}{contestant.ready}"), timeout=5).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


async def fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE users RESTART IDENTITY")
    await connection.executemany(
        "INSERT INTO users (email, name) VALUES ($1, $2)", [(f"user{n}@example.com", f"User {n}") for n in range(USERS)]
    )
    await connection.close()


async def measure(contestant: Contestant, port: int, arguments: argparse.Namespace) -> float:
    await drive(port, contestant.requests(), connections=arguments.connections, seconds=0.5)  # warm up
    result = await drive(port, contestant.requests(), connections=arguments.connections, seconds=arguments.seconds)
    if result.failures:
        sys.exit(f"{contestant.name}: {result.failures} requests failed")
    return result.rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of load, per contestant and round")
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with embedded() as servers, contextlib.ExitStack() as stack:
        database_url = urlsplit(servers.postgres)._replace(path="/postgres").geturl()
        environment = os.environ | {"USER_API_DATABASE_URL": database_url}
        subprocess.run([str(BIN / "user-api"), "migrate"], env=environment, check=True, stderr=subprocess.DEVNULL)
        asyncio.run(fill(database_url))
        entries = contestants(servers, database_url)
        ports = [stack.enter_context(serving(contestant, cores[0])) for contestant in entries]
        os.sched_setaffinity(0, {cores[-1]})
        rates: list[list[float]] = [[] for _ in entries]
        for _ in range(arguments.rounds):
            for contestant, port, measured in zip(entries, ports, rates, strict=True):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    measured.append(runner.run(measure(contestant, port, arguments)))
    report(entries, rates)


def report(entries: list[Contestant], rates: list[list[float]]) -> None:
    floor = statistics.median(rates[0])
    print(f"{'':32}{'requests/s':>12}{'of the floor':>14}")
    for contestant, measured in zip(entries, rates, strict=True):
        rate = statistics.median(measured)
        print(f"{contestant.name:32}{rate:12,.0f}{rate / floor:14.2f}")


if __name__ == "__main__":
    main()
