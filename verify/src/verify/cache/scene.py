"""What a scenario uses: the running stack, the users that are read and written meanwhile, and the tally."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from verify.cache.open_loop import Rates
from verify.cache.rows import Rows
from verify.cache.tally import PROMISE, CacheTally
from verify.connection import NO_ANSWER
from verify.deployment import Local
from verify.target import Target

SEEN_BY_THEN = PROMISE + 0.5
"""Seconds of reads after a change, so that staleness beyond the promise shows before the next change."""

AT_WORK_WITHIN = 15.0
"""Seconds in which every replica must answer from its cache again."""


@dataclass(frozen=True)
class Scene:
    local: Local
    rows: Rows
    rates: Rates
    """The load's rates, for scenarios with a load of their own."""
    tally: CacheTally


@dataclass(frozen=True)
class Scenario:
    """`service` must be a process of the stack; None: the scenario needs none."""

    service: str | None
    play: Callable[[Scene], Awaitable[None]]
    """Returns when everything is as it was before. Raises StackError if it could not be done."""


async def idle_caches(rows: Rows, replicas: Sequence[Target]) -> list[str]:
    """The replicas that have not answered from their caches in time."""
    deadline = time.monotonic() + AT_WORK_WITHIN
    idle = list(replicas)
    while idle and time.monotonic() < deadline:
        idle = [replica for replica in idle if not await _hits(rows, replica)]
        await asyncio.sleep(0.1)
    return [replica.name for replica in idle]


async def _hits(rows: Rows, replica: Target) -> bool:
    path = f"/v1/users/{rows.any().id}"
    try:
        replies = [await replica.pool.request("GET", path) for _ in range(2)]
    except NO_ANSWER:
        return False
    return replies[-1].status == 200 and replies[-1].json()["source"] != "database"


async def let_it_be_read() -> None:
    await asyncio.sleep(SEEN_BY_THEN)
