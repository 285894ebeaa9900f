"""The connection pool, and whether PostgreSQL is there and has the tables that this code needs."""

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from evenkeel.problems import Unavailable
from user_api import schema_version
from user_api.settings import Settings

CONNECT_TIMEOUT = 3
"""Seconds until an attempt to connect fails."""

STATEMENT_TIMEOUT = 5
"""Seconds until PostgreSQL gives a statement up."""

POOL_TIMEOUT = 3
"""Seconds that a request waits for a free connection."""


def create_engine(settings: Settings, *, connections: int) -> AsyncEngine:
    """A pool of at most so many connections; opens nothing yet."""
    return create_async_engine(
        settings.database_url.get_secret_value(),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        # A connection that a restart of PostgreSQL or a proxy has closed is replaced before it is used.
        pool_pre_ping=True,
        # Parameters are personal data, and errors are logged.
        hide_parameters=True,
        pool_recycle=1800,
        connect_args={
            "timeout": CONNECT_TIMEOUT,
            "command_timeout": STATEMENT_TIMEOUT + 1,
            "server_settings": {
                "application_name": f"user-api {settings.replica_name}"[:63],
                "statement_timeout": f"{STATEMENT_TIMEOUT}s",
                "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT}s",
            },
        },
    )


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
