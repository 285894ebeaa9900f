"""The connections on which the statements of requests run. Failures of PostgreSQL are raised as the cache's errors."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from evenkeel.tracing import span
from user_api.connections import Connections
from user_api.database import failure
from user_api.session import Session
from user_api.settings import Settings
from user_api.statements import Statement

log = logging.getLogger(__name__)


class Pool:
    """At most `size` connections. None is open yet. Methods raise LoadError for failures of the database."""

    def __init__(self, settings: Settings, *, size: int) -> None:
        self._connections = Connections(settings, size=size)
        self.close = self._connections.close

    @property
    def in_use(self) -> int:
        """Connections that are lent."""
        return self._connections.in_use

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

    def observe(self, registry: CollectorRegistry) -> None:
        """Export how many connections are in use, and how many the pool may hold."""
        in_use = Gauge("database_connections_in_use", "Connections lent to requests", registry=registry)
        in_use.set_function(lambda: self.in_use)
        limit = Gauge("database_connections_limit", "Connections the pool may hold", registry=registry)
        limit.set(self._connections.size)

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Session]:
        begun = False
        try:
            async with self._connections.acquire() as session:
                begun = True
                yield session
        except Exception as error:
            its = failure(error, begun=begun)
            if its is None:
                raise
            log.warning("the database does not do its work", extra={"reason": str(error)})
            raise its from error


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
