"""The cost of one look at the change log, by the number of changes since the last state."""

import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg
from benchmarks.writes import connected, insert, row_by_row

from evenkeel.cache.change_log import ChangeLog, Look

LIMIT = 60.0
"""Seconds that a look may take here. No trust depends on it."""

LOOKS = 3
"""Looks, of which the median counts."""


@dataclass(frozen=True)
class Cost:
    what: str
    rows: int
    seconds: float
    answer: str


@contextlib.asynccontextmanager
async def looking(database: str) -> AsyncIterator[ChangeLog]:
    async with asyncpg.create_pool(database, min_size=0) as pool:
        yield ChangeLog(pool, table="users", log="user_changes", time_limit=LIMIT)


async def costs(database: str, *, short: bool) -> list[Cost]:
    """The times of looks: after one statement with so many rows, and after as many changes logged one by one."""
    few: Sequence[int] = (1_000, 10_000, 50_000)
    found = []
    async with looking(database) as log, connected(database) as writer:
        for rows in (*few, 60_000 if short else 1_000_000):
            since = (await log.look(None)).state
            await insert(writer, rows)
            found.append(await _cost(log, since, "in one statement", rows))
        for rows in (*few, *(() if short else (1_000_000,))):
            since = (await log.look(None)).state
            async with writer.transaction():
                await row_by_row(writer, rows)
                # The state of a relay while the transaction is open: it contains everything but this transaction.
                during = (await log.look(None)).state
                found.append(await _cost(log, during, "row by row, still open", rows))
            found.append(await _cost(log, since, "row by row", rows))
    return found


async def _cost(log: ChangeLog, since: str, what: str, rows: int) -> Cost:
    times, answer = [], None
    for _ in range(LOOKS):
        began = time.perf_counter()
        answer = await log.look(since)
        times.append(time.perf_counter() - began)
    return Cost(what, rows, statistics.median(times), _told(answer))


def _told(look: Look | None) -> str:
    if look is None or look.changes is None:
        return "anything"
    return "a range" if look.ranges else f"{len(look.changes):,} keys"
