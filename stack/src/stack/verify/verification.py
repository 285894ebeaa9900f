"""One verification: users are made, and read and written while one fault after the other is done to the stack."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from stack.errors import StackError
from stack.verify import scenarios
from stack.verify.deployment import Elsewhere, Local
from stack.verify.faults import FAULTS, possible
from stack.verify.load import Load, Rates
from stack.verify.prober import Prober
from stack.verify.rows import Rows
from stack.verify.scenarios import SCENARIOS
from stack.verify.scene import Scene, idle_caches
from stack.verify.sql import SqlWriter
from stack.verify.tally import PROMISE, Tally

LEAD = 0.5
"""Seconds of undisturbed load before each fault."""

TAIL = PROMISE + 0.5
"""Seconds of load after each fault: what stays stale for longer than promised is to be seen in its own phase."""

AT_ONCE = 16
"""Users that are made or deleted at the same time."""


@dataclass(frozen=True)
class Plan:
    phases: Sequence[str] | None
    """Names of FAULTS and SCENARIOS; None: all that are possible."""
    seconds: float
    """That a phase lasts at least."""
    users: int
    rates: Rates


async def verify(deployment: Elsewhere | Local, plan: Plan, announce: Callable[[str], None]) -> list[Tally]:
    """What each phase found; `announce` is called with its name when it begins.

    The users made are deleted again; where they could not be, that is one phase more.
    """
    rows = Rows(secrets.token_hex(4))
    end = Tally("end", strict=False)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(deployment.watched())
        prober = Prober(rows)
        preparation = Tally("preparation", strict=False)
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
            tallies = [await _phase(name, deployment, plan, rows, load, announce) for name in _phases(plan, deployment)]
            load.stop()
    return [*tallies, end] if end.failure else tallies


def _phases(plan: Plan, deployment: Elsewhere | Local) -> Sequence[str]:
    if plan.phases is not None:
        return plan.phases
    if not isinstance(deployment, Local):
        return ["none"]
    return [*possible(deployment), *scenarios.possible(deployment)]


async def _phase(
    name: str, deployment: Elsewhere | Local, plan: Plan, rows: Rows, load: Load, announce: Callable[[str], None]
) -> Tally:
    announce(name)
    tally = load.tally = Tally(name, strict=name == "none")
    load.sql_share = 0.7 if name == "sql" else 0.1
    began = time.monotonic()
    if isinstance(deployment, Local) and name not in {"none", "sql"}:
        await asyncio.sleep(LEAD)
        try:
            if name in FAULTS:
                await FAULTS[name].inject(deployment)
            else:
                await SCENARIOS[name].play(Scene(deployment, rows, plan.rates, tally))
                for idle in await idle_caches(rows, deployment.replicas):
                    tally.breach("off", idle)
        except StackError as error:
            tally.failure = f"the fault could not be injected: {error}"
        await asyncio.sleep(TAIL)
    await asyncio.sleep(began + plan.seconds - time.monotonic())
    return tally


async def _delete(prober: Prober, rows: Rows, deployment: Elsewhere | Local, end: Tally) -> None:
    """Delete the users one by one, as far as the deployment lets us."""
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
