"""Whether ordinary large changes of the table switch the cache off.

A thousand users are read evenly while other users are changed. The users that are read do not change, so every read
could be a hit.
"""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import uvloop
from benchmarks import half_core, looking
from benchmarks.alive import Alive, watched
from benchmarks.changes import READ, Change, changes
from benchmarks.goals import Goal, report
from benchmarks.rounds import Options
from benchmarks.serving import redis_database, running, user_api
from benchmarks.steady import Reader, Second, reading
from benchmarks.users import populate, read_all
from redis import Redis
from tests.support.servers import Servers, embedded

RECOVERED = 0.99
"""With this share of hits in a second, the cache counts as working."""

WARM_WITHIN = 20.0
"""Seconds in which every replica reads every user."""

LEAST_HITS = 0.95
"""The least share of hits, compared with the hits without load."""

LONGEST_GAP = 0.3
"""The longest time in seconds for which `alive` may be missing."""


@dataclass(frozen=True)
class Pace:
    rate: float
    """Reads that begin in a second."""
    quiet: float
    """Seconds before each change in which only reads run, for comparison."""
    after: float
    """Seconds after a change that are counted as well, because the caches apply it then."""
    recovery: float
    """The longest wait in seconds for hits after a change."""


LONG = Pace(2_000, quiet=4, after=3, recovery=20)
SHORT = Pace(500, quiet=1.5, after=1.5, recovery=8)


@dataclass(frozen=True)
class Deployment:
    tiers: str
    replicas: int
    half_core: bool = False

    def __str__(self) -> str:
        return f"{self.tiers}; {self.replicas} replicas{'; PostgreSQL on half a core' if self.half_core else ''}"


@dataclass(frozen=True)
class Outcome:
    change: str
    seconds: float
    """The seconds that the change took."""
    reads: float
    """Reads that were answered in a second."""
    quiet: float
    """The share of hits before the change."""
    hits: float
    refilled: float
    """The share of the reads that may miss, for one refill of everything."""
    worst: float
    """The lowest share of hits in one second."""
    gap: float | None
    """None if there is no `alive`."""
    late: int
    """Late looks at `alive`."""
    recovery: float | None
    """Seconds from the change until reads were hits again; None if they were not."""

    @property
    def kept(self) -> float:
        return min(1.0, self.hits + self.refilled) / self.quiet if self.quiet else 0.0

    @property
    def good(self) -> bool:
        return self.kept >= LEAST_HITS and (self.gap or 0) <= LONGEST_GAP


def measure(options: Options) -> None:
    deployments = [
        Deployment(tiers, replicas, half)
        for replicas, half in [(2, False)] + ([] if options.short else [(6, False), (2, True)])
        for tiers in ("memory,redis", "memory")
    ]
    pace = SHORT if options.short else LONG
    print(
        f"{pace.rate:,} reads a second of {READ:,} users that do not change. Goals: hits / without >= {LEAST_HITS:.2f},"
        f" gap of alive <= {LONGEST_GAP} s. More than 50,000 changes logged row by row may cost one refill of all."
    )
    with embedded() as servers:
        for number, deployment in enumerate(deployments):
            if deployment.half_core and not half_core.possible():
                print(f"\n{deployment}: not measured, for no control group can be made here (as root it can)")
                continue
            _show(deployment, _measured(servers, deployment, number, pace, short=options.short))
        _show_looks(servers, short=options.short)


def _measured(servers: Servers, deployment: Deployment, number: int, pace: Pace, *, short: bool) -> list[Outcome]:
    database = populate(servers.postgres, f"bulk_{number}", READ)
    cache = redis_database(servers.redis_cache, number)
    program = user_api(database, cache, tiers=deployment.tiers)
    programs = [
        dataclasses.replace(program, environment={**program.environment, "USER_API_REPLICA_NAME": f"bench-{replica}"})
        for replica in range(deployment.replicas)
    ]
    with running(programs, None) as replicas, _postgres(servers, half=deployment.half_core):
        run = _Run(database, cache, [replica.port for replica in replicas], pace, redis="redis" in deployment.tiers)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run.outcomes(changes(short=short)))


@contextlib.contextmanager
def _postgres(servers: Servers, *, half: bool) -> Iterator[None]:
    """Whether PostgreSQL is held to half a core."""
    with half_core.held(asyncio.run(half_core.server_of(servers.postgres))) if half else contextlib.nullcontext():
        yield


class _Run:
    """All changes on one deployment, one after the other."""

    def __init__(self, database: str, cache: str, ports: Sequence[int], pace: Pace, *, redis: bool) -> None:
        self._database = database
        self._cache = cache
        self._ports = ports
        self._pace = pace
        self._redis = redis
        # With Redis, one replica reads a user again and the others find it there. Without Redis, each replica reads it.
        self._refill = READ if redis else READ * len(ports)

    async def outcomes(self, changes: Sequence[Change]) -> list[Outcome]:
        await read_all(self._ports, range(1, READ + 1))
        async with AsyncExitStack() as stack:
            reader = await stack.enter_async_context(reading(self._ports, users=READ, rate=self._pace.rate))
            alive = await stack.enter_async_context(watched(self._cache)) if self._redis else None
            return [await self._outcome(change, reader, alive) for change in changes]

    async def _outcome(self, change: Change, reader: Reader, alive: Alive | None) -> Outcome:
        await self._until_warm(reader)
        before = time.monotonic()
        await asyncio.sleep(self._pace.quiet)
        began = time.monotonic()
        await change.make(self._database)
        ended = time.monotonic()
        await asyncio.sleep(self._pace.after)
        counted = time.monotonic()
        recovery = await self._recovery(reader, ended, self._pace.recovery)
        seconds = reader.since(began, counted)
        return Outcome(
            change.name,
            ended - began,
            sum(second.tiers + second.database for second in seconds) / len(seconds),
            _hits(reader.since(before, began)),
            _hits(seconds),
            self._refill / sum(second.asked for second in seconds) if change.everything else 0.0,
            min(second.hits for second in seconds),
            alive.longest_gap(began, counted) if alive else None,
            alive.late(began, counted) if alive else 0,
            recovery,
        )

    async def _until_warm(self, reader: Reader) -> None:
        """Returns when reads are hits. A cache that does not recover by itself is emptied by hand, as an operator would
        do.
        """
        for _ in range(2):
            if await self._recovery(reader, time.monotonic(), WARM_WITHIN) is not None:
                return
            with Redis.from_url(self._cache) as redis:
                redis.flushdb()
        print("(reads are no hits although nothing is changed)", flush=True)

    async def _recovery(self, reader: Reader, since: float, patience: float) -> float | None:
        """Seconds until the first second in which reads were hits; None if there was none in time."""
        while True:
            # The last second may still have unanswered reads.
            until = time.monotonic() - 0.5
            for number, second in enumerate(reader.since(since, until)):
                if second.hits >= RECOVERED:
                    return number
            if until > since + patience:
                return None
            await asyncio.sleep(0.2)


def _hits(seconds: Sequence[Second]) -> float:
    return sum(second.tiers for second in seconds) / max(1, sum(second.asked for second in seconds))


def _show(deployment: Deployment, outcomes: Sequence[Outcome]) -> None:
    print(
        f"\n{deployment!s:46}{'took, s':>9}{'reads/s':>9}{'quiet':>7}{'hits':>7}{'worst s':>9}{'gap, s':>8}"
        f"{'back, s':>9}"
    )
    for outcome in outcomes:
        gap = "-" if outcome.gap is None else f"{outcome.gap:.2f}"
        back = "never" if outcome.recovery is None else f"{outcome.recovery:.0f}"
        print(
            f"{outcome.change:46}{outcome.seconds:9.1f}{outcome.reads:9,.0f}{outcome.quiet:7.1%}{outcome.hits:7.1%}"
            f"{outcome.worst:9.1%}{gap:>8}{back:>9}  {'ok' if outcome.good else 'MISSED'}"
            + (f" (alive was looked at late {outcome.late} times)" if outcome.late else ""),
            flush=True,
        )


def _show_looks(servers: Servers, *, short: bool) -> None:
    costs = asyncio.run(looking.costs(populate(servers.postgres, "bulk_looks", READ), short=short))
    print(f"\n{'one look at the log, after':36}{'rows':>12}{'ms':>10}{'answer':>16}")
    for cost in costs:
        print(f"{cost.what:36}{cost.rows:12,}{cost.seconds * 1000:10.1f}{cost.answer:>16}")
    print()
    found = {(cost.what, cost.rows): cost.seconds / cost.rows for cost in costs}
    report(
        Goal(f"a row's share of a look, 50,000 / 10,000, {what}", found[what, 50_000] / found[what, 10_000], most=1.5)
        for what in ("in one statement", "row by row")
    )
