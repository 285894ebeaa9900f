"""Where the change log gets its connections to PostgreSQL: a pool of asyncpg, or an engine of SQLAlchemy.

The cache imports neither. A service without SQLAlchemy saves 21 MiB and a third of its start.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class Connection(Protocol):
    """A connection of asyncpg is one."""

    async def fetchrow(self, query: str, /, *arguments: Any) -> Mapping[str, Any] | None:
        """The first row of a statement, whose parameters are $1, $2, …; None if there is no row."""


class Connections(Protocol):
    """A pool of asyncpg is one. Each statement is a transaction of its own."""

    def acquire(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for the block."""


def connections_of(database: "Connections | AsyncEngine") -> Connections:
    """The same, or those of SQLAlchemy's engine."""
    return database if hasattr(database, "acquire") else _OfEngine(database)


class _OfEngine:
    """An engine for the driver asyncpg, whose parameters are $1, $2, …, too."""

    def __init__(self, engine: "AsyncEngine") -> None:
        # A statement then takes one round trip, on any connection of a pooler.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        async with self._engine.connect() as connection:
            yield _OfSqlalchemy(connection)


class _OfSqlalchemy:
    def __init__(self, connection: "AsyncConnection") -> None:
        self._connection = connection

    async def fetchrow(self, query: str, /, *arguments: Any) -> Mapping[str, Any] | None:
        found = (await self._connection.exec_driver_sql(query, arguments)).mappings().first()
        return None if found is None else dict(found)
