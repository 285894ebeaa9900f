"""A connection, and the statements that are prepared on it.

A statement of its own is one round trip: it has a prepared name, and PostgreSQL commits it by itself. A pooler such as
PgBouncer may stand in between and lend its sessions for one transaction each. Then a session keeps no settings, and
names only if the pooler translates them. Every new connection finds out what it has.
"""

import itertools
import secrets
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from user_api.database import GONE, LIMITS, PING_TIMEOUT

_NOT_BEGUN = (
    asyncpg.InvalidCachedStatementError,  # a column that it returns has another type now
    asyncpg.InvalidSQLStatementNameError,  # the pooler or the server has forgotten the name
    asyncpg.DuplicatePreparedStatementError,
)
"""Errors of a prepared statement that has not begun its work."""


class Session:
    """A connection, and the statements that are prepared on it."""

    def __init__(self, driver: Any, *, pooled: bool, names: bool) -> None:
        """`names`: whether a statement keeps its name."""
        self.driver = driver
        self.opened = self.used = time.monotonic()
        self._pooled = pooled
        self._names = names
        self._prepared: dict[str, Any] = {}
        self._numbers = itertools.count()

    @classmethod
    async def open(cls, driver: Any) -> "Session":
        """Set the time limits if there is no pooler. With one, asyncpg's time limit and its cancelling remain."""
        try:
            # A pooler gives its clients numbers of its own, by which they cancel statements.
            limits = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in LIMITS.items())
            direct = await driver.fetch(f"SELECT {limits} WHERE pg_backend_pid() = {driver.get_server_pid()}")
            return cls(driver, pooled=not direct, names=bool(direct) or await _translates_names(driver))
        except BaseException:
            driver.terminate()
            raise

    async def fetch(self, text: str, arguments: Sequence[Any]) -> list[Any]:
        """The rows, in one round trip once the statement is prepared; in two if names are not kept."""
        if self._names:
            try:
                prepared = self._prepared.get(text)
                if prepared is None:
                    name = f"evenkeel_{next(self._numbers)}"
                    prepared = self._prepared[text] = await self.driver.prepare(text, name=name)
                rows: list[Any] = await prepared.fetch(*arguments)
            except _NOT_BEGUN:
                self._prepared.clear()
                # A pooler would use its own prepared statement again, which is out of date as well.
                self._names = not self._pooled
            else:
                return rows
        unnamed: list[Any] = await self.driver.fetch(text, *arguments)
        return unnamed

    async def fetchrow(self, query: str, /, *arguments: Any) -> Any:
        """The first row, or None: what the change log calls."""
        rows = await self.fetch(query, arguments)
        return rows[0] if rows else None

    async def answers(self) -> bool:
        """Whether the connection still works."""
        try:
            await self.driver.execute("SELECT", timeout=PING_TIMEOUT)
        except GONE:
            return False
        return True


async def _translates_names(driver: Any) -> bool:
    """Whether the pooler gives prepared statements names of its own, which hold on every session that it lends.

    PgBouncer does from 1.21 on, unless `max_prepared_statements` is 0. Otherwise the name reaches one session as it is.
    """
    name = f"evenkeel_{secrets.token_hex(8)}"  # other clients of the pooler may use the same session
    async with driver.transaction():
        prepared = await driver.prepare("SELECT name FROM pg_prepared_statements", name=name)
        passed_on = any(row["name"] == name for row in await prepared.fetch())
        if passed_on:
            await driver.execute(f"DEALLOCATE {name}")
    return not passed_on
