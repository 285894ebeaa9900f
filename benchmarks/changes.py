"""Ordinary large changes of the table of users. None of them changes a user that is read meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.looking import looking
from benchmarks.writes import connected, insert, row_by_row

READ = 1_000
"""Users that are read. All changes are to other users."""

BATCH = 1_000
"""Rows that one statement of a backfill changes."""

PRUNE_EVERY = 5.0
"""Seconds between two prunings while a snapshot is held."""

WRITES = 50
"""Statements a second while a snapshot is held, each with 10 rows."""


@dataclass(frozen=True)
class Change:
    name: str
    make: Callable[[str], Awaitable[None]]
    """Gets the URL of the database."""
    everything: bool = False
    """The log gets too many rows to name each key, so everything cached may be read once more."""


def changes(*, short: bool) -> list[Change]:
    if short:
        return [
            Change("one INSERT of 60,000", _insert(60_000)),
            Change("backfill, 20,000 rows a second, 2 s", _backfill(20_000, 2)),
            Change("20,000 changes row by row", _row_by_row(20_000)),
        ]
    return [
        Change("one INSERT of 60,000", _insert(60_000)),
        Change("one INSERT of 1,000,000", _insert(1_000_000)),
        Change("one UPDATE of 500,000", _update(500_000)),
        Change("backfill, 20,000 rows a second, 20 s", _backfill(20_000, 20)),
        Change("1,000,000 changes row by row", _row_by_row(1_000_000), everything=True),
        Change("a snapshot held for 60 s", _snapshot(60)),
    ]


def _insert(rows: int) -> Callable[[str], Awaitable[None]]:
    async def make(database: str) -> None:
        async with connected(database) as connection:
            await insert(connection, rows)

    return make


def _update(rows: int) -> Callable[[str], Awaitable[None]]:
    async def make(database: str) -> None:
        async with connected(database) as connection:
            await connection.execute(f"UPDATE users SET name = 'Updated' WHERE id BETWEEN {READ + 1} AND {READ + rows}")  # noqa: S608 (numbers)

    return make


def _backfill(rate: int, seconds: int) -> Callable[[str], Awaitable[None]]:
    """Changes the first of the unread rows again and again, each statement in a transaction of its own."""

    async def make(database: str) -> None:
        async with connected(database) as connection:
            last = await connection.fetchval("SELECT max(id) FROM users")
            due, first, end = time.monotonic(), READ + 1, time.monotonic() + seconds
            while time.monotonic() < end:
                await connection.execute(
                    "UPDATE users SET name = 'Filled' WHERE id >= $1 AND id < $2", first, first + BATCH
                )
                first = first + BATCH if first + 2 * BATCH <= last else READ + 1
                due += BATCH / rate
                await asyncio.sleep(due - time.monotonic())

    return make


def _row_by_row(rows: int) -> Callable[[str], Awaitable[None]]:
    async def make(database: str) -> None:
        async with connected(database) as connection, connection.transaction():
            await row_by_row(connection, rows)

    return make


def _snapshot(seconds: int) -> Callable[[str], Awaitable[None]]:
    """Meanwhile the log is pruned. Deleted rows stay in the index as long as the snapshot is held."""

    async def make(database: str) -> None:
        async with connected(database) as reader, reader.transaction(isolation="repeatable_read"):
            # The local stack's PostgreSQL ends a transaction that is idle for a minute.
            await reader.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await reader.fetchval("SELECT count(*) FROM user_changes")
            async with asyncio.TaskGroup() as group:
                group.create_task(_write(database, seconds))
                group.create_task(_prune(database, seconds))

    return make


async def _write(database: str, seconds: int) -> None:
    async with connected(database) as connection:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await connection.execute("UPDATE users SET name = 'Written' WHERE id BETWEEN $1 AND $1 + 9", READ + 1)
            await asyncio.sleep(1 / WRITES)


async def _prune(database: str, seconds: int) -> None:
    async with looking(database) as log:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await log.prune(retention=1.0)
            await asyncio.sleep(min(PRUNE_EVERY, max(0.0, end - time.monotonic())))
