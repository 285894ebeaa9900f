"""A database with a table that has a change log, for tests of the log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from tests.support.databases import connection_to, emptied_database

from evenkeel.cache.change_log import ChangeLog
from evenkeel.cache.change_log_schema import install

BOOKS = "CREATE TABLE books (id bigint PRIMARY KEY, title text, version bigint NOT NULL DEFAULT 1, changed timestamptz)"


class Books:
    """A database with a table of books."""

    def __init__(self, url: str, pool: "asyncpg.Pool") -> None:
        self.url = url
        self.pool = pool
        # A long limit, because the machine may be busy.
        self.log = ChangeLog(pool, table="books", log="book_changes", time_limit=60)

    async def execute(self, *statements: str | tuple[str, Any]) -> None:
        """One transaction with these statements, some of which have a parameter."""
        async with self.connect() as connection, connection.transaction():
            for statement in statements:
                await (connection.execute(statement) if isinstance(statement, str) else connection.execute(*statement))

    async def value(self, query: str, *parameters: Any) -> Any:
        async with self.connect() as connection:
            return await connection.fetchval(query, *parameters)

    @asynccontextmanager
    async def connect(self, **credentials: str) -> AsyncIterator[Any]:
        async with connection_to(self.url, **credentials) as connection:
            yield connection

    async def state(self) -> str:
        return (await self.log.look(None)).state

    async def changes(self, since: str) -> dict[str, int | None] | None:
        return (await self.log.look(since)).changes

    async def install(self) -> None:
        await self.execute(
            *install(table="books", key="id", updated_at="changed", log="book_changes", log_key="book_id")
        )


@asynccontextmanager
async def books_without_log(server: str) -> AsyncIterator[Books]:
    """On the server with this URL, whose role is a superuser."""
    url = await emptied_database(server, "change_log")
    # Without `reset`, a pool of asyncpg sends a statement after each use of a connection.
    async with asyncpg.create_pool(url, min_size=0, max_size=4, reset=leave) as pool:
        books = Books(url, pool)
        await books.execute(BOOKS)
        yield books


async def leave(_: "asyncpg.Connection") -> None:
    """Nothing is set in a session, so there is nothing to reset."""


@asynccontextmanager
async def books_with_log(server: str) -> AsyncIterator[Books]:
    """As above, with the books 1, 2 and 3 at version 1."""
    async with books_without_log(server) as books:
        await books.install()
        await books.execute("INSERT INTO books (id, title) SELECT id, 'T' FROM generate_series(1, 3) AS id")
        yield books
