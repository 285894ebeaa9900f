"""Statements that change many users at once."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg

STATEMENT_LIMIT = 300.0
"""Seconds that one statement may take."""


@contextlib.asynccontextmanager
async def connected(database: str) -> AsyncIterator["asyncpg.Connection"]:
    connection = await asyncpg.connect(
        database, command_timeout=STATEMENT_LIMIT, server_settings={"application_name": "bench"}
    )
    try:
        yield connection
    finally:
        connection.terminate()


async def insert(connection: "asyncpg.Connection", rows: int) -> None:
    await connection.execute(
        "INSERT INTO users (email, name)"  # noqa: S608 (a number)
        f" SELECT gen_random_uuid() || '@example.com', 'User' FROM generate_series(1, {rows})"
    )


async def row_by_row(connection: "asyncpg.Connection", rows: int) -> None:
    """Logs each change in a row of its own, as a subscription's worker does. Within the caller's transaction."""
    await connection.execute("SET LOCAL session_replication_role = replica")
    await insert(connection, rows)
