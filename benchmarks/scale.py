"""What fleets of replicas cost Redis and PostgreSQL, and how large a fleet can become.

Fleets of light replicas (benchmarks/fleet/replicas.py) are compared with real ones where both are small. The tables are
in the form in which docs/scaling.md has them.
"""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from benchmarks import half_core
from benchmarks.fleet import tables
from benchmarks.fleet.costs import LONG, SHORT, Costs, Size, measured
from benchmarks.fleet.fleets import Fleet, light_fleet, real_fleet
from benchmarks.fleet.meters import Meters
from benchmarks.fleet.sidecars import following
from benchmarks.goals import report
from benchmarks.rounds import Options
from benchmarks.serving import Program, user_api
from benchmarks.users import populate
from redis import Redis
from tests.support.servers import embedded

DATABASE = "fleets"

CONNECTIONS = 6_000
"""That PostgreSQL accepts here."""

ROOM = 0.8
"""The share of this machine's cores that a fleet may need at rest. A larger fleet is not started, but calculated."""


@dataclass(frozen=True)
class Plan:
    size: Size
    compared: Sequence[int]
    """Replicas of the fleets that are measured in both ways."""
    light: Sequence[int]
    sidecars: int
    """That the primary feeds beside a fleet as small as the smallest one."""

    @property
    def users(self) -> int:
        fleets = [*self.compared, *self.compared, *self.light, self.compared[0]]
        return 1 + sum(self.size.users(replicas) for replicas in fleets)


FULL = Plan(LONG, (2, 8), (10, 100, 500), 8)
BRIEF = Plan(SHORT, (2,), (6,), 2)


def measure(options: Options) -> None:
    plan = BRIEF if options.short else FULL
    with embedded(max_connections=CONNECTIONS) as servers:
        database = populate(servers.postgres, DATABASE, plan.users)
        program = user_api(database, servers.redis_cache, tiers="memory,redis")
        asyncio.run(_measure(plan, program, servers.postgres, servers.redis_cache))


async def _measure(plan: Plan, program: Program, postgres: str, cache: str) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        with Redis.from_url(cache, protocol=3) as redis:
            meters = Meters(
                *(redis, connection, DATABASE),
                redis_process=redis.info("server")["process_id"],
                postgres_process=await half_core.server_of(postgres),
            )
            redis.connection_pool.disconnect()  # so that only the meters' own connection is left
            run = _Run(plan, program, meters)
            pairs = [
                (
                    await run.costs(f"{replicas} real", real_fleet(program, replicas)),
                    await run.costs(f"{replicas} light", light_fleet(program, replicas)),
                )
                for replicas in plan.compared
            ]
            light = [light for _, light in pairs]
            larger = list(plan.light)
            while larger and run.has_room(light[-1], larger[0]):
                light.append(await run.costs(f"{larger[0]} light", light_fleet(program, larger.pop(0))))
            few = plan.compared[0]
            with (
                tempfile.TemporaryDirectory(prefix="evenkeel-sidecars-") as directory,
                following(cache, plan.sidecars, Path(directory)),
            ):
                followed = await run.costs(f"{few} light, {plan.sidecars} sidecars", light_fleet(program, few))
    finally:
        await connection.close()
    tables.show_fleets([real for real, _ in pairs], light, larger)
    if len(light) >= tables.LEAST:
        tables.show_lines(light)
        tables.show_limits(light)
    tables.show_sidecars(light[0], followed, plan.sidecars)
    report(tables.likeness(pairs))


class _Run:
    def __init__(self, plan: Plan, program: Program, meters: Meters) -> None:
        self._plan = plan
        self._program = program
        self._meters = meters
        self._next = 2  # the first user is the hot one

    async def costs(self, name: str, opening: AbstractAsyncContextManager[Fleet]) -> Costs:
        async with opening as fleet:
            costs = await measured(name, fleet, self._meters, self._plan.size, self._next)
        self._next += self._plan.size.users(fleet.size)
        print(f"{name}: measured{f', but {costs.failed[0]}' if costs.failed else ''}", flush=True)
        return costs

    @staticmethod
    def has_room(smaller: Costs, replicas: int) -> bool:
        """Whether this machine can run so many replicas, after what the smaller fleet has needed."""
        needed = smaller.cores * replicas / smaller.replicas
        room = ROOM * len(os.sched_getaffinity(0))
        if needed > room:
            print(f"{replicas} light: not measured, they would need {needed:.1f} cores", flush=True)
            return False
        return True
