"""How connections to PostgreSQL are opened, their time limits, and their failures.

A pooler such as PgBouncer in transaction mode may stand before PostgreSQL: it lends a session for one transaction. So
the startup packet has no setting but the application's name, which poolers accept. What a session has of its own is in
session.py.
"""

import contextlib
from typing import Any

import asyncpg

from evenkeel.cache.database_breaker import MOST_PROBES
from evenkeel.cache.errors import Disconnected, LoadError
from user_api import lookup
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


def connections(settings: Settings) -> int:
    """The most connections to PostgreSQL that one replica holds."""
    return settings.database_pool_size + BACKGROUND_CONNECTIONS + PROBE_CONNECTIONS


async def connect(address: DatabaseAddress, name: str) -> "asyncpg.Connection":
    """A connection whose transactions have time limits."""
    limits = {"command_timeout": STATEMENT_TIMEOUT + 1, "connection_class": _LimitedConnection}
    return await lookup.connect(**(address.place | connect_arguments(address, name) | limits))


def connect_arguments(address: DatabaseAddress, name: str) -> dict[str, Any]:
    """The arguments of asyncpg with which all connections are opened, those for migrations, too."""
    return {
        "timeout": CONNECT_TIMEOUT,
        # Without asyncpg's cache, statements have no names.
        "statement_cache_size": 0,
        "server_settings": {"application_name": f"user-api {name}"[:63]},
    } | address.options


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
    if isinstance(error, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError):
        return None
    if isinstance(error, OSError | TimeoutError):
        return Disconnected("The database does not answer.", begun=begun)
    if not isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return None
    state = getattr(error, "sqlstate", None)
    if state is None or state.startswith(_DOWN):
        return Disconnected("The database does not answer.", begun=begun)
    return LoadError("The database cannot do its work now.", begun=begun)
