"""One verification: users are made, and read and written while one fault after the other is done to the stack."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from stack.errors import StackError
from verify.cache.faults import FAULTS
from verify.cache.load import Load
from verify.cache.open_loop import Rates
from verify.cache.prober import Prober
from verify.cache.rows import Rows
from verify.cache.scenarios import SCENARIOS
from verify.cache.scene import Scene, idle_caches
from verify.cache.sql import SqlWriter
from verify.cache.tally import PROMISE, CacheTally
from verify.deployment import Deployment, Local
from verify.phases import Phases, Plan
from verify.progress import Announce, seconds

PHASES = Phases(anywhere=["none"], disruptions={**FAULTS, **SCENARIOS})

UNBROKEN = {"none", "sql"}
"""Phases of load alone."""

LEAD = 0.5
"""Seconds of undisturbed load before each fault."""

TAIL = PROMISE + 0.5
"""Seconds of load after each fault, so that staleness beyond the promise shows in the same phase."""

AT_ONCE = 16
"""Users that are made or deleted at the same time."""


@dataclass(frozen=True)
class CachePlan(Plan):
    seconds: float
    """The shortest duration of a phase."""
    users: int
    rates: Rates


async def verify(deployment: Deployment, plan: CachePlan, announce: Announce) -> list[CacheTally]:
    """What each phase found.

    The users made are deleted again. If that fails, the result has one more phase, `end`.
    """
    rows = Rows(secrets.token_hex(4))
    end = CacheTally("end", strict=False)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(deployment.watched())
        prober = Prober(rows)
        preparation = CacheTally("preparation", strict=False)
        if deployment.dsn:
            sql = await stack.enter_async_context(SqlWriter(deployment.dsn, rows, time.monotonic))
            stack.push_async_callback(sql.clean_up, end)
        else:
            sql = None
            stack.push_async_callback(_delete, prober, rows, deployment, end)
        await _in_parallel(plan.users, lambda: prober.create(deployment.any(), preparation))
        if len(rows) < plan.users:
            raise StackError(f"{plan.users - len(rows)} of {plan.users} users could not be made: {preparation.errors}")
        load = Load(prober, rows, deployment, sql, plan.rates, preparation)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            tallies = []
            names = PHASES.of(plan, deployment)
            for number, name in enumerate(names):
                announce(name, number, len(names), seconds(_shortest(name, plan)))
                tallies.append(await _phase(name, deployment, plan, rows, load))
            load.stop()
    return [*tallies, end] if end.failure else tallies


def _shortest(name: str, plan: CachePlan) -> float:
    """How long the phase lasts at least, in seconds."""
    return plan.seconds if name in UNBROKEN else max(plan.seconds, LEAD + TAIL)


async def _phase(name: str, deployment: Deployment, plan: CachePlan, rows: Rows, load: Load) -> CacheTally:
    earlier = load.under_way
    tally = load.tally = CacheTally(name, strict=name == "none")
    load.sql_share = 0.7 if name == "sql" else 0.1
    began = time.monotonic()
    if isinstance(deployment, Local) and name not in UNBROKEN:
        await asyncio.sleep(LEAD)
        if earlier:
            await asyncio.wait(earlier)  # the fault could fail them, and they count for the phase before
        with tally.injecting():
            if name in FAULTS:
                await FAULTS[name].inject(deployment)
            else:
                await SCENARIOS[name].play(Scene(deployment, rows, plan.rates, tally))
                for idle in await idle_caches(rows, deployment.replicas):
                    tally.breach("off", idle)
        await asyncio.sleep(TAIL)
    await asyncio.sleep(began + plan.seconds - time.monotonic())
    return tally


async def _delete(prober: Prober, rows: Rows, deployment: Deployment, end: CacheTally) -> None:
    """Delete the users one by one, as far as the deployment allows it."""
    leftover = iter(rows.living)
    await _in_parallel(len(rows), lambda: prober.delete(deployment.any(), next(leftover), end))


async def _in_parallel(count: int, work: Callable[[], Awaitable[object]]) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with limit:
            await work()

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
