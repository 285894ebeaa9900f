"""How connections are opened, their failures, and whether PostgreSQL answers and has the tables that this code needs.

A pooler such as PgBouncer in transaction mode may stand before PostgreSQL: it lends a session for one transaction. So
the startup packet has no setting but the application's name, which poolers accept. SQLAlchemy's connections, for work
in the background, keep nothing in a session: no prepared statements, no SET but SET LOCAL. Requests have the pool in
pool.py.
"""

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from evenkeel.cache.database_breaker import MOST_PROBES
from evenkeel.cache.errors import Disconnected, LoadError
from evenkeel.http.problems import Unavailable
from user_api import lookup, schema_version
from user_api.database_url import DatabaseAddress
from user_api.settings import Settings

CONNECT_TIMEOUT = 3
"""Seconds until an attempt to connect fails."""

STATEMENT_TIMEOUT = 5
"""Seconds until PostgreSQL ends a statement, or a transaction in which its replica sends nothing more."""

POOL_TIMEOUT = 2.5
"""Seconds that a request waits for a free connection, the same as for a database that does not answer."""

CLOSE_TIMEOUT = 0.5
"""Seconds that PostgreSQL has to end a connection before the connection is cut."""

BACKGROUND_CONNECTIONS = 4
"""Connections beside those for requests: for the change log, for its pruning, and two for readiness checks. With one
connection, a second check could wait for the first, and would not be woken if that cannot connect."""

PROBE_CONNECTIONS = MOST_PROBES
"""Connections for the probes of the database breaker."""

RECYCLE = 1800
"""Seconds after which a connection is replaced."""

LIMITS = {
    "statement_timeout": f"{STATEMENT_TIMEOUT}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT}s",
}
"""PostgreSQL's own settings."""

PING_TIMEOUT = 2
"""Seconds within which an idle connection must answer before it is used. If it does not, it is replaced."""


WITHOUT_CACHE = {"prepared_statement_cache_size": 0}
"""An argument of SQLAlchemy's connections. Its statements then keep no names."""


def connections(settings: Settings) -> int:
    """The most connections to PostgreSQL that one replica holds."""
    return settings.database_pool_size + BACKGROUND_CONNECTIONS + PROBE_CONNECTIONS


def create_engine(settings: Settings, *, connections: int, checked: bool = True) -> AsyncEngine:
    """A pool of at most so many connections; none is open yet. `checked`: each is tested before its next use."""
    address = settings.database
    engine = create_async_engine(
        address.url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT,
        # Parameters are personal data, and errors are logged.
        hide_parameters=True,
        pool_recycle=RECYCLE,
        connect_args=_limited(address, settings.replica_name) | WITHOUT_CACHE | {"async_creator_fn": lookup.connect},
    )
    if checked:
        event.listen(engine.sync_engine, "checkout", _require_answer)
    return engine


async def connect(address: DatabaseAddress, name: str) -> "asyncpg.Connection":
    """A connection without SQLAlchemy."""
    return await lookup.connect(**address.url.translate_connect_args(username="user"), **_limited(address, name))


def _limited(address: DatabaseAddress, name: str) -> dict[str, Any]:
    return connect_arguments(address, name) | {
        "command_timeout": STATEMENT_TIMEOUT + 1,
        "connection_class": _LimitedConnection,
    }


def connect_arguments(address: DatabaseAddress, name: str) -> dict[str, Any]:
    """The arguments of asyncpg with which all connections are opened, those for migrations, too."""
    return {
        "timeout": CONNECT_TIMEOUT,
        # Without asyncpg's cache, statements have no names.
        "statement_cache_size": 0,
        "server_settings": {"application_name": f"user-api {name}"[:63]},
    } | address.arguments


def probe(engine: AsyncEngine) -> Callable[[], Coroutine[Any, Any, None]]:
    """A probe that raises unless PostgreSQL reads users. A server whose table is locked answers, but does not work.

    Connections are kept, because opening one takes long if everything is slow. One that does not answer is replaced.
    """

    async def read_users() -> None:
        try:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT FROM users LIMIT 1"))
        except Exception as error:
            if isinstance(failure(error, begun=False), Disconnected):
                raise

    return read_users


class _LimitedConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg is not typed
    """Sends the time limits of each transaction with its BEGIN, and closes within CLOSE_TIMEOUT.

    Statements outside a transaction are cancelled after `command_timeout`.
    """

    _LIMITS = ";".join(f"SET LOCAL {name} = '{value}'" for name, value in LIMITS.items())

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> Any:  # noqa: ASYNC109 (asyncpg's)
        if query.startswith("BEGIN"):
            query += self._LIMITS
        return await super().execute(query, *args, timeout=timeout)

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 (asyncpg's)
        with contextlib.suppress(TimeoutError):  # then it has been cut
            await super().close(timeout=CLOSE_TIMEOUT if timeout is None else min(timeout, CLOSE_TIMEOUT))


GONE = (
    *(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError),
    asyncpg.InternalClientError,  # PostgreSQL has announced the end of the connection, and that has not arrived yet
)
"""Errors of a connection that has ended, or does not answer."""

_DOWN = ("08", "57P")
"""How the SQLSTATE begins if the server stops or starts, or if a pooler has no server."""


def failure(error: Exception, *, begun: bool) -> LoadError | None:
    """The failure of the database behind this error; None if it is the caller's error. `begun`: work had been sent."""
    if isinstance(error, DataError | IntegrityError | asyncpg.DataError | asyncpg.IntegrityConstraintViolationError):
        return None
    if isinstance(error, OSError | TimeoutError):
        return Disconnected("The database does not answer.", begun=begun)
    if not isinstance(error, DBAPIError | asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return None
    state = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    if state is None or state.startswith(_DOWN):
        return Disconnected("The database does not answer.", begun=begun)
    return LoadError("The database cannot do its work now.", begun=begun)


def _require_answer(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Replace a connection that a restart of PostgreSQL or of a pooler has closed, before it is used again.

    `pool_pre_ping` does the same, but needs four round trips without named statements. This needs one.
    """
    if "used" not in record.info:  # it has just been opened
        record.info["used"] = True
        return
    try:
        connection.run_async(lambda driver: driver.execute("SELECT", timeout=PING_TIMEOUT))
    except GONE as error:
        raise InvalidatePoolError from error


async def schema_revision(engine: AsyncEngine) -> str | None:
    """The latest migration that the database has; None: there was none yet."""
    async with engine.connect() as connection:
        if not await connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
            return None
        found: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


async def check_schema(engine: AsyncEngine) -> None:
    """Raise, with the reason, unless PostgreSQL answers and has a schema that this code can use."""
    try:
        found = await schema_revision(engine)
    except DBAPIError as error:
        raise Unavailable(f"PostgreSQL: {error.orig}") from error
    schema_version.require(found)
