"""Books: read through the cache, changed in PostgreSQL."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import asyncpg

from evenkeel.cache import Answer, Disconnected, Entry, LoadError, ReadThrough

Loader = Callable[[Sequence[str]], Coroutine[Any, Any, dict[str, Entry]]]


@contextmanager
def database_errors() -> Iterator[None]:
    """Failures of PostgreSQL, as errors of the cache. For a read, a stale entry may then stand in."""
    try:
        yield
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
        raise Disconnected(str(error)) from error
    except asyncpg.PostgresError as error:
        raise LoadError(str(error)) from error


def loader(pool: Any) -> Loader:
    """Reads the books that no tier of the cache has. An entry is a version and the JSON that answers have."""

    async def load(isbns: Sequence[str]) -> dict[str, Entry]:
        query = "SELECT isbn, version, to_json(books)::text AS book FROM books WHERE isbn = ANY($1)"
        with database_errors():
            rows = await pool.fetch(query, list(isbns), timeout=5)
        return {row["isbn"]: Entry(row["version"], row["book"].encode()) for row in rows}

    return load


class Books:
    def __init__(self, pool: Any, cache: ReadThrough[None]) -> None:
        self._pool = pool
        self._cache = cache

    async def read(self, isbn: str, *, min_version: int) -> Answer[None]:
        return await self._cache.get(isbn, min_version=min_version)

    async def put(self, isbn: str, title: str, price: Decimal) -> int:
        """Add the book, or change it. Returns its version."""
        statement = (
            "INSERT INTO books (isbn, title, price) VALUES ($1, $2, $3)"
            " ON CONFLICT (isbn) DO UPDATE SET title = excluded.title, price = excluded.price RETURNING version"
        )
        try:
            with database_errors():
                version: int = await self._pool.fetchval(statement, isbn, title, price, timeout=5)
        finally:
            # After the commit, and before the answer. A statement that failed may have been committed, too.
            await self._cache.invalidate([isbn])
        return version
