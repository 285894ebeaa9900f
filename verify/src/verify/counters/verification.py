"""One verification: counters are counted and read while one fault after the other is injected into the stack."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from stack.errors import StackError
from verify.connection import NO_ANSWER
from verify.counters.client import PATIENCE, Client
from verify.counters.faults import FAULTS, UNBROKEN
from verify.counters.history import History
from verify.counters.linearizability import check
from verify.counters.load import CUT, CUT_IN_DISCONNECTS, Counters, Load
from verify.counters.tally import CountersTally
from verify.deployment import Deployment, Local
from verify.phases import Phases, Plan
from verify.progress import Announce, Extent

PHASES = Phases(anywhere=list(UNBROKEN), disruptions=FAULTS)

COUNTERS = 3
"""Counters of each kind, in each phase."""

LEAD = 0.5
"""Seconds of undisturbed load before each fault, and after it."""

REPEATED = 20
"""How often a phase injects its fault, if that does not slow the load down. The pauses are as long as that requires."""


@dataclass(frozen=True)
class CountersPlan(Plan):
    operations: int
    """Increments and reads that a phase has at least. The fault is repeated until then."""
    clients: int
    """How many clients send requests at the same time."""


async def verify(deployment: Deployment, plan: CountersPlan, announce: Announce) -> list[CountersTally]:
    """What each phase found. The counters are deleted again."""
    run = f"verify-{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(deployment.watched())
        client = Client(run, deployment)
        await _greet(client, deployment, run)
        tallies: list[CountersTally] = []
        names = PHASES.of(plan, deployment)
        for number, name in enumerate(names):
            begins = partial(announce, name, number, len(names))
            counters = Counters.named(f"{run}:{len(tallies)}", COUNTERS)
            stack.push_async_callback(_delete, counters.all, deployment)
            tallies.append(await _phase(name, deployment, plan, client, counters, begins))
        return tallies


async def _greet(client: Client, deployment: Deployment, run: str) -> None:
    tally = CountersTally("greeting")
    for target in deployment.targets:
        if await client.read(History(f"{run}:greeting"), target, tally) is None:
            why = ", ".join([*tally.errors, *tally.examples]) or "no answer"
            raise StackError(f"{target.url} does not answer a read of a counter: {why}")


async def _phase(
    name: str,
    deployment: Deployment,
    plan: CountersPlan,
    client: Client,
    counters: Counters,
    begins: Callable[[Extent], None],
) -> CountersTally:
    tally = CountersTally(name)
    cut_share = CUT_IN_DISCONNECTS if name == "disconnects" else CUT
    load = Load(client, deployment, counters, tally, quota=plan.operations, cut_share=cut_share)
    begins(Extent(load.begun, load.quota, "operations"))
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(plan.clients))
        if name in FAULTS and isinstance(deployment, Local):
            await _break(name, deployment, load, tally)
        load.finish()
    tally.seconds = time.monotonic() - began
    for history in counters.all:
        await _read_final(history, deployment, client, tally)
        tally.judged(history.name, check(history))
    return tally


async def _break(name: str, local: Local, load: Load, tally: CountersTally) -> None:
    """Inject the fault again and again, until the load has its quota, but at least once."""
    await asyncio.sleep(LEAD)
    while True:
        with tally.injecting():
            await FAULTS[name].inject(local)
        if tally.failure:
            return
        tally.injected += 1
        await asyncio.sleep(LEAD)
        await load.more(load.quota // REPEATED)
        if load.is_enough:
            return


async def _read_final(history: History, deployment: Deployment, client: Client, tally: CountersTally) -> None:
    began = time.monotonic()
    for attempt in itertools.count():
        history.final = await client.read(history, deployment.any(), tally)
        if history.final is not None:
            return
        if time.monotonic() - began > PATIENCE:
            tally.breach("unanswered", f"{history.name} could not be read for {PATIENCE:g} s")
            return
        await client.pause(attempt)


async def _delete(histories: Sequence[History], deployment: Deployment) -> None:
    """Delete the counters, as far as the deployment allows it. The records of the keys expire."""
    for history in histories:
        try:
            await deployment.any().pool.request("DELETE", f"/v1/counters/{history.name}")
        except NO_ANSWER:
            return
