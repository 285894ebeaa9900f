"""Whether PostgreSQL answers, works, and has the tables that this code needs."""

from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg

from evenkeel.cache.errors import Disconnected
from evenkeel.http.problems import Unavailable
from user_api import schema_version
from user_api.connections import Connections
from user_api.database import failure


def probe(connections: Connections) -> Callable[[], Coroutine[Any, Any, None]]:
    """A probe that raises unless PostgreSQL reads users. A server whose table is locked answers, but does not work.

    Connections are kept, because opening one takes long if everything is slow. One that does not answer is replaced.
    """

    async def read_users() -> None:
        try:
            async with connections.acquire() as connection:
                await connection.fetch("SELECT FROM users LIMIT 1", ())
        except Exception as error:
            if isinstance(failure(error, begun=False), Disconnected):
                raise

    return read_users


async def check_schema(connections: Connections) -> None:
    """Raise, with the reason, unless PostgreSQL answers and has a schema that this code can use."""
    try:
        async with connections.acquire() as connection:
            rows = await connection.fetch("SELECT version_num FROM alembic_version", ())
    except asyncpg.UndefinedTableError:
        rows = []
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise Unavailable(f"PostgreSQL: {error}") from error
    schema_version.require(rows[0]["version_num"] if rows else None)
