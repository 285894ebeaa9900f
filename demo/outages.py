"""Redis servers that are killed under load, and started again by their supervisors."""

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from demo import tutorials
from demo.findings import EVENKEEL, TUTORIAL, Bar, Finding, seconds, unmet
from demo.stage import Stage, pid_of
from stack.errors import StackError
from stack.process import Process
from stack.together import together
from verify.connection import NO_ANSWER
from verify.counters.client import Client
from verify.counters.history import Counted, History
from verify.counters.linearizability import check
from verify.counters.operation import Increment, Operation
from verify.counters.tally import CountersTally
from verify.deployment import Local
from verify.faults import killed
from verify.target import FixedTargets, Target

KILLS = 4
"""How often each server is killed. Supervisors wait longer before each new start."""

LEAD = 0.5
"""Seconds of load before the first kill, and after the last."""

CLIENTS = 8
PAUSE = 0.01
"""Seconds between two requests of one client."""

USERS = 5

PATIENCE = 10.0
"""Seconds after which a reader gives up."""

RETURNS = 60.0
"""Seconds in which a server that was killed must be back."""

Visitor = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""A client that sends one request after the other, until the event."""


@dataclass
class Reads:
    """Those of all clients of one system."""

    answered: int = 0
    failed: int = 0
    """They got an error, or no answer in PATIENCE seconds."""
    slowest: float = 0.0
    """Seconds until the slowest answer."""


@dataclass
class Counts:
    """The increments of one counter."""

    history: History = field(default_factory=lambda: History(f"demo-{secrets.token_hex(4)}"))
    repeated: int = 0
    """Requests that were sent again, because they had got no answer."""

    @property
    def acknowledged(self) -> int:
        return len(self.history.counted)

    @property
    def lost(self) -> int:
        """Acknowledged increments that are not in the value."""
        return check(self.history).lost

    @property
    def doubled(self) -> int:
        """Units of the value that no increment made."""
        return check(self.history).doubled


async def of_the_cache(stage: Stage) -> list[Finding]:
    ids = [stage.new_user() for _ in range(USERS)]
    tutorial, evenkeel = Reads(), Reads()
    target = Target.at("tutorial", str(stage.cache.program.url))
    with contextlib.closing(target.pool):
        visitors = [
            *_readers(target, "/user/redis", ids, tutorial),
            *_readers(stage.gateway, "/v1/users", ids, evenkeel),
        ]
        await _killed_under(visitors, stage.cache_redis, stage.users, "redis-cache")
    return [reads_finding(tutorial, evenkeel)]


def reads_finding(tutorial: Reads, evenkeel: Reads) -> Finding:
    def described(reads: Reads) -> str:
        return f"{reads.failed:,} of {reads.failed + reads.answered:,}"

    return Finding(
        "The cache's Redis is killed under load",
        f"It is killed {KILLS} times, and started again. A read fails if it gets an error, or no answer in"
        f" {seconds(PATIENCE)}. Of the tutorial's reads {described(tutorial)} fail, of Evenkeel's"
        f" {described(evenkeel)}; its slowest takes {seconds(evenkeel.slowest)}.",
        (
            Bar(TUTORIAL, tutorial.failed, f"{tutorial.failed:,} reads failed"),
            Bar(EVENKEEL, evenkeel.failed, f"{evenkeel.failed:,}"),
        ),
        unmet(
            {
                "no read of the tutorial failed": tutorial.failed > 0,
                "reads of Evenkeel failed": evenkeel.failed == 0,
                "Evenkeel was not read": evenkeel.answered > 0,
            }
        ),
    )


async def of_the_counters(stage: Stage) -> list[Finding]:
    tutorial, evenkeel = Counts(), Counts()
    gateway = stage.counters.targets[0]
    client = Client(evenkeel.history.name, FixedTargets([gateway]))
    tally = CountersTally("demo")

    async def count(ended: asyncio.Event) -> None:
        while not ended.is_set():
            operation = Operation([Increment(evenkeel.history)], key=client.next_key())
            await client.count(operation, gateway, tally)
            await asyncio.sleep(PAUSE)

    target = Target.at("tutorial", str(stage.incr.program.url))
    with contextlib.closing(target.pool):
        visitors = [*_counters(target, tutorial), *[count] * CLIENTS]
        await _killed_under(visitors, stage.counter_redis, stage.counters, "redis-counters")
    async with Redis.from_url(str(stage.counter_redis.program.dsn)) as redis:
        tutorial.history.final = int(await redis.get(tutorials.counter_key(tutorial.history.name)) or 0)
    evenkeel.history.final = await client.read(evenkeel.history, gateway, tally)
    evenkeel.repeated = tally.retried
    return [counts_finding(tutorial, evenkeel)]


def counts_finding(tutorial: Counts, evenkeel: Counts) -> Finding:
    return Finding(
        "The counters' Redis is killed under load",
        f"It is killed {KILLS} times, and started again. A request without an answer is repeated. Of the tutorial's"
        f" {tutorial.acknowledged:,} acknowledged increments {tutorial.lost:,} are lost, on a Redis with its default"
        f" configuration. Of Evenkeel's {evenkeel.acknowledged:,}, {evenkeel.lost:,} are lost and {evenkeel.doubled:,}"
        f" counted twice; {evenkeel.repeated:,} requests had to be repeated.",
        (
            Bar(TUTORIAL, tutorial.lost, f"{tutorial.lost:,} increments lost"),
            Bar(EVENKEEL, evenkeel.lost + evenkeel.doubled, f"{evenkeel.lost:,} lost, {evenkeel.doubled:,} doubled"),
        ),
        unmet(
            {
                "the tutorial lost no increment": tutorial.lost > 0,
                "Evenkeel lost increments": evenkeel.lost == 0,
                "Evenkeel counted increments twice": evenkeel.doubled == 0,
                "Evenkeel's counter could not be read": evenkeel.history.final is not None,
                "Evenkeel acknowledged no increment": evenkeel.acknowledged > 0,
            }
        ),
    )


def _readers(target: Target, path: str, ids: Sequence[int], reads: Reads) -> list[Visitor]:
    async def read(ended: asyncio.Event) -> None:
        turn = 0
        while not ended.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    reply = await target.pool.request("GET", f"{path}/{ids[turn % len(ids)]}")
                good = reply.status == 200
            except NO_ANSWER:
                good = False
            if good:
                reads.answered += 1
                reads.slowest = max(reads.slowest, time.monotonic() - began)
            else:
                reads.failed += 1
            turn += 1
            await asyncio.sleep(PAUSE)

    return [read] * CLIENTS


def _counters(target: Target, counts: Counts) -> list[Visitor]:
    """Clients of the tutorial's program, which has no keys: a request without an answer is sent again all the same."""

    async def count(ended: asyncio.Event) -> None:
        while not ended.is_set():
            began = time.monotonic()
            try:
                reply = await target.pool.request("POST", f"/counter/{counts.history.name}")
            except NO_ANSWER:
                reply = None
            if reply is not None and reply.status == 200:
                counts.history.counted.append(Counted(reply.json()["value"], 1, began, time.monotonic()))
            else:
                counts.history.unknown.append(began)
                counts.repeated += 1
            await asyncio.sleep(PAUSE)

    return [count] * CLIENTS


async def _killed_under(visitors: Sequence[Visitor], redis: Process, local: Local, service: str) -> None:
    """Kill the tutorial's Redis and that of the stack, while the clients send requests to both systems."""

    async def kill_theirs() -> None:
        for _ in range(KILLS):
            await kill_and_await(redis)

    async def kill_ours() -> None:
        for _ in range(KILLS):
            await killed(service).inject(local)

    ended = asyncio.Event()

    async def kill() -> None:
        await asyncio.sleep(LEAD)
        await together([kill_theirs(), kill_ours()])
        await asyncio.sleep(LEAD)
        ended.set()

    await together([kill(), *(visitor(ended) for visitor in visitors)])


async def kill_and_await(process: Process) -> None:
    """Return when it has been started again. Raises StackError if it does not run, or does not return."""
    victim = pid_of(process)
    os.kill(victim, signal.SIGKILL)
    try:
        async with asyncio.timeout(RETURNS):
            while process.pid == victim or process.phase != "healthy":  # noqa: ASYNC110 (it sets no event)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise StackError(f"{process.program.name} has not returned within {RETURNS:g} s") from None
