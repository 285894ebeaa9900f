"""The connections on which the statements of requests run.

A statement of its own is one round trip: it has a prepared name, and PostgreSQL commits it by itself. A pooler such as
PgBouncer may stand in between and lend its sessions for one transaction each. Then a session keeps no settings, and
names only if the pooler translates them. Every new connection finds out what it has.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry, Gauge

from evenkeel.cache.errors import Busy, Disconnected
from evenkeel.tracing import span
from user_api.database import GONE, LIMITS, PING_TIMEOUT, POOL_TIMEOUT, RECYCLE, connect, failure
from user_api.settings import Settings
from user_api.statements import Statement

log = logging.getLogger(__name__)

TRUSTED = 1.0
"""Seconds without work after which a connection is tested before its next use. A connection that ends tells so, unless
a firewall has forgotten it, or a whole machine is gone."""

_NOT_BEGUN = (
    asyncpg.InvalidCachedStatementError,  # a column that it returns has another type now
    asyncpg.InvalidSQLStatementNameError,  # the pooler or the server has forgotten the name
    asyncpg.DuplicatePreparedStatementError,
)
"""Errors of a prepared statement that has not begun its work."""


class Pool:
    """At most `size` connections. None is open yet. Methods raise LoadError for failures of the database."""

    def __init__(self, settings: Settings, *, size: int) -> None:
        self.in_use = 0
        self._address, self._name = settings.database, settings.replica_name
        self._size = size
        self._places = asyncio.Semaphore(size)
        self._idle: list[_Session] = []  # the one that was used last is used next
        self._closing: set[asyncio.Task[None]] = set()

    async def fetch(self, statement: Statement, **values: Any) -> list[Any]:
        """The rows of one statement, which is committed when this returns."""
        async with self._lent() as session:
            with span(statement.name, kind="client", attributes=statement.attributes):
                return await session.fetch(statement.text, statement.arguments(values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """Several statements, committed together when the block ends."""
        with span("transaction"):
            async with self._lent() as session, session.driver.transaction():
                yield Transaction(session.driver)

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        for session in self._idle:
            self._close(session)
        self._idle.clear()
        if self._closing:
            await asyncio.wait(self._closing)

    def observe(self, registry: CollectorRegistry) -> None:
        """Export how many connections are in use, and how many the pool may hold."""
        in_use = Gauge("database_connections_in_use", "Connections lent to requests", registry=registry)
        in_use.set_function(lambda: self.in_use)
        Gauge("database_connections_limit", "Connections the pool may hold", registry=registry).set(self._size)

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator["_Session"]:
        await self._take_place()
        session, usable = None, False
        try:
            session = await self._session()
            yield session
            usable = True
        except Exception as error:
            its = failure(error, begun=session is not None)
            usable = not isinstance(its, Disconnected)
            if its is None:
                raise
            log.warning("the database does not do its work", extra={"reason": str(error)})
            raise its from error
        finally:
            if session is None:
                self._leave_place()
            elif usable and not session.driver.is_closed():
                session.used = time.monotonic()
                self._idle.append(session)
                self._leave_place()
            else:  # asyncpg cancels its statement before it closes
                self._close(session).add_done_callback(lambda _: self._leave_place())

    async def _take_place(self) -> None:
        if self._places.locked():
            try:
                async with asyncio.timeout(POOL_TIMEOUT):
                    await self._places.acquire()
            except TimeoutError:
                raise Busy("All database connections of this replica are busy.") from None
        else:
            await self._places.acquire()
        self.in_use += 1

    def _leave_place(self) -> None:
        self.in_use -= 1
        self._places.release()

    async def _session(self) -> "_Session":
        """An idle connection that still works, or a new one."""
        while self._idle:
            session = self._idle.pop()
            now = time.monotonic()
            if session.driver.is_closed():
                continue
            if now < session.opened + RECYCLE:
                try:
                    if now < session.used + TRUSTED or await session.answers():
                        return session
                except BaseException:
                    self._close(session)
                    raise
                # The others have waited for longer still.
                for other in self._idle:
                    self._close(other)
                self._idle.clear()
            self._close(session)
        return await _Session.open(await connect(self._address, self._name))

    def _close(self, session: "_Session") -> "asyncio.Task[None]":
        task = asyncio.create_task(session.driver.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task


class Transaction:
    """Statements have no names here. So a pooler carries them, and a change of the schema fails none."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def fetch(self, statement: Statement, **values: Any) -> list[Any]:
        with span(statement.name, kind="client", attributes=statement.attributes):
            rows: list[Any] = await self._driver.fetch(statement.text, *statement.arguments(values))
        return rows

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """If the block raises, what it did is undone, and the transaction goes on."""
        async with self._driver.transaction():
            yield


class _Session:
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
    async def open(cls, driver: Any) -> "_Session":
        """Set the time limits if there is no pooler. With one, asyncpg's time limit and its cancelling remain."""
        try:
            # A pooler gives its clients numbers of its own, by which they cancel statements.
            limits = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in LIMITS.items())
            direct = await driver.fetch(f"SELECT {limits} WHERE pg_backend_pid() = {driver.get_server_pid()}")
            return cls(driver, pooled=not direct, names=bool(direct) or await _translates_names(driver))
        except BaseException:
            driver.terminate()
            raise

    async def fetch(self, text: str, arguments: list[Any]) -> list[Any]:
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
