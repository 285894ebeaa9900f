"""Changes by hand-written SQL, without any replica."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

import asyncpg

from stack.errors import StackError
from verify.cache.rows import ForeignAnswer, Row, Rows
from verify.cache.staleness import deleted
from verify.cache.tally import CacheTally
from verify.clock import Clock

TIMEOUT = 10.0
"""Seconds that a statement may take."""

CLEAN_UP_WITHIN = 60.0
"""Seconds in which PostgreSQL must be back, so that the users can be deleted."""

CLEAN_UP_PAUSE = 0.2
"""Seconds between attempts."""

SLOW = 0.7
"""Seconds that a transaction stays open after its change, while others commit theirs."""

MANY = 10
"""Rows that one statement changes."""

UPDATE = "UPDATE users SET name = $2 WHERE id = $1 RETURNING id, email, name, version"
UPDATE_MANY = "UPDATE users SET name = $2 WHERE id = ANY($1) RETURNING id, email, name, version"
INSERT = "INSERT INTO users (email, name) VALUES ($1, $2) RETURNING id, email, name, version"
REINSERT = (
    "INSERT INTO users (id, email, name) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3) RETURNING id, email, name, version"
)
DELETE = "DELETE FROM users WHERE id = $1"
SELECT_ALL = "SELECT id, email, name, version FROM users WHERE email LIKE $1"
DELETE_ALL = "DELETE FROM users WHERE email LIKE $1"

_FAILED = (
    *(OSError, asyncpg.PostgresError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,  # PostgreSQL has ended the session, but the end of the connection has not arrived yet
)

LARGE = 120.0
"""Seconds that a statement of a scenario may take."""

NAME = {"application_name": "verify cache"}


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    """A connection for large statements. Errors of PostgreSQL become StackErrors."""
    connection = None
    try:
        connection = await asyncpg.connect(dsn, command_timeout=LARGE, server_settings=NAME)
        yield connection
    except _FAILED as error:
        raise StackError(f"PostgreSQL: {type(error).__name__}: {error}") from error
    finally:
        if connection is not None:
            connection.terminate()


async def learn(connection: Any, rows: Rows, tally: CacheTally) -> None:
    """Note what is committed of the rows of this run, by whichever writer."""
    users = await connection.fetch(SELECT_ALL, rows.pattern)
    now = time.monotonic()
    for user in users:
        row = rows.find(user["id"])
        if row is None:  # made just now and not yet acknowledged, or one of many that are not read
            continue
        try:
            position = rows.position(row, user)
        except ForeignAnswer as foreign:
            tally.breach("foreign", f"SQL: {foreign}")
        else:
            tally.writes += position > row.history.latest
            row.history.committed(position, now)


class SqlWriter:
    """Each write is one transaction. Its commit is known when COMMIT has returned."""

    def __init__(self, dsn: str, rows: Rows, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock
        self._pool = asyncpg.create_pool(dsn, min_size=0, max_size=4, command_timeout=TIMEOUT, server_settings=NAME)
        # Two statements that each lock many rows could deadlock.
        self._one_at_a_time = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._pool
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.terminate()

    async def write(self, tally: CacheTally) -> None:
        """One change of a random kind."""
        kinds: dict[Callable[[Any], Awaitable[int]], int] = {
            self._update: 6,
            self._update_many: 2,
            self._update_slowly: 1,
            self._insert: 1,
            self._delete: 1,
            self._replace: 2,
        }
        [kind] = random.choices(list(kinds), list(kinds.values()))
        try:
            async with asyncio.timeout(TIMEOUT), self._pool.acquire() as connection:
                tally.writes += await kind(connection)
        except ForeignAnswer as foreign:
            tally.breach("foreign", f"SQL: {foreign}")
        except _FAILED as error:
            tally.errors[f"SQL {type(error).__name__}"] += 1

    async def clean_up(self, tally: CacheTally) -> None:
        """Delete the users of this run as soon as PostgreSQL answers. Without an answer the tally names what is left.

        This raises nothing: the results of the phases, or their error, are more important.
        """
        given_up = self._clock() + CLEAN_UP_WITHIN
        while True:
            try:
                await self._pool.execute(DELETE_ALL, self._rows.pattern)
            except _FAILED as error:
                if self._clock() > given_up:
                    whose = f"with addresses like {self._rows.pattern}"
                    tally.failure = f"the users made for the purpose, {whose}, are left: {error}"
                    return
                await asyncio.sleep(CLEAN_UP_PAUSE)
            else:
                return

    async def _update(self, connection: Any, *, pause: float = 0.0) -> int:
        row, name = self._rows.any(), self._rows.next_name()
        async with connection.transaction():
            user = await connection.fetchrow(UPDATE, row.id, name)
            await asyncio.sleep(pause)
        return self._committed([user] if user else [])

    async def _update_slowly(self, connection: Any) -> int:
        return await self._update(connection, pause=SLOW)

    async def _update_many(self, connection: Any) -> int:
        ids = sorted({self._rows.any().id for _ in range(MANY)})
        async with self._one_at_a_time:
            return self._committed(await connection.fetch(UPDATE_MANY, ids, self._rows.next_name()))

    async def _insert(self, connection: Any) -> int:
        serial = self._rows.next_serial()
        user = await connection.fetchrow(INSERT, self._rows.email(serial), self._rows.next_name())
        self._rows.add(Row(user["id"], serial))
        return self._committed([user])

    async def _delete(self, connection: Any) -> int:
        row = self._forget()
        await connection.execute(DELETE, row.id)
        row.history.committed(deleted(row.generation), self._clock())
        return 1

    async def _replace(self, connection: Any) -> int:
        """Delete a row and insert another one under its id; its versions begin again at 1."""
        row = self._forget()
        email, name = self._rows.email(row.serial, row.generation + 1), self._rows.next_name()
        async with connection.transaction():
            await connection.execute(DELETE, row.id)
            user = await connection.fetchrow(REINSERT, row.id, email, name)
        row.generation += 1
        self._rows.restore(row)
        return self._committed([user])

    def _forget(self) -> Row:
        row = self._rows.any()
        self._rows.remove(row)
        row.deletes_sent.add(row.generation)
        return row

    def _committed(self, users: list[Any]) -> int:
        for user in users:
            row = self._rows.find(user["id"])
            assert row is not None  # noqa: S101 (only rows of this run are written)
            row.history.committed(self._rows.position(row, user), self._clock())
            self._rows.touch(row)
        return len(users)
