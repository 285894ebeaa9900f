"""The connection pool, and whether PostgreSQL is there and has the tables that this code needs.

Nothing here is kept in a session of PostgreSQL, so that a pooler that lends a session to a client for one transaction
only, as PgBouncer does in transaction mode, may stand between: no prepared statements, no SET but SET LOCAL, and no
settings in the startup packet but the application's name, which poolers know.
"""

from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from evenkeel.problems import Unavailable
from user_api import schema_version
from user_api.settings import Settings

CONNECT_TIMEOUT = 3
"""Seconds until an attempt to connect fails."""

STATEMENT_TIMEOUT = 5
"""Seconds until PostgreSQL gives up a statement, or a transaction whose replica says nothing more."""

POOL_TIMEOUT = 3
"""Seconds that a request waits for a free connection."""

BACKGROUND_CONNECTIONS = 3
"""Connections beside those for requests: the change log's, and those of readiness checks, of which one that waits for
another's connection would not be woken when that one cannot connect."""


def connections(settings: Settings) -> int:
    """The most connections to PostgreSQL that one replica holds."""
    return settings.database_pool_size + BACKGROUND_CONNECTIONS


def create_engine(settings: Settings, *, connections: int) -> AsyncEngine:
    """A pool of at most so many connections; opens nothing yet."""
    engine = create_async_engine(
        settings.database_url.get_secret_value(),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        # Parameters are personal data, and errors are logged.
        hide_parameters=True,
        pool_recycle=1800,
        connect_args=connect_arguments(settings.replica_name)
        | {"command_timeout": STATEMENT_TIMEOUT + 1, "connection_class": _LimitedConnection},
    )
    event.listen(engine.sync_engine, "checkout", _require_answer)
    return engine


def connect_arguments(name: str) -> dict[str, Any]:
    """What every connection is opened with, the migrations' too."""
    return {
        "timeout": CONNECT_TIMEOUT,
        # The drivers' caches, asyncpg's and SQLAlchemy's: without them statements have no names.
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "server_settings": {"application_name": f"user-api {name}"[:63]},
    }


class _LimitedConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg is not typed
    """Begins every transaction with its time limits, in the same message.

    What is asked without one, as the change log is, has the limit of `command_timeout`, at which it is cancelled.
    """

    _LIMITS = (
        f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s';"
        f"SET LOCAL idle_in_transaction_session_timeout = '{STATEMENT_TIMEOUT}s'"
    )

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> Any:  # noqa: ASYNC109 (asyncpg's)
        if query.startswith("BEGIN"):
            query += self._LIMITS
        return await super().execute(query, *args, timeout=timeout)


_GONE = (
    *(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,  # PostgreSQL has said goodbye, and the end of the connection has yet to arrive
)


def _require_answer(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """A connection that a restart of PostgreSQL or a pooler has closed is replaced before it is used again.

    As `pool_pre_ping` does it, in one round trip instead of the four that it takes without named statements.
    """
    if "used" not in record.info:  # it has just been opened
        record.info["used"] = True
        return
    try:
        connection.run_async(lambda driver: driver.execute("SELECT"))
    except _GONE as error:
        raise InvalidatePoolError from error


def observe_pool(engine: AsyncEngine, registry: CollectorRegistry) -> None:
    """Export how many connections are lent out, and how many the pool may hold."""
    pool = engine.pool
    assert isinstance(pool, QueuePool)  # noqa: S101 (what create_engine makes)
    in_use = Gauge("database_connections_in_use", "Connections lent to requests", registry=registry)
    in_use.set_function(pool.checkedout)
    Gauge("database_connections_limit", "Connections the pool may hold", registry=registry).set_function(pool.size)


async def check_schema(engine: AsyncEngine) -> None:
    """Raise, saying why, unless PostgreSQL answers and its schema is one that this code can use."""
    try:
        async with engine.connect() as connection:
            present = await connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
            found = await connection.scalar(text("SELECT version_num FROM alembic_version")) if present else None
    except DBAPIError as error:
        raise Unavailable(f"PostgreSQL: {error.orig}") from error
    schema_version.require(found)
