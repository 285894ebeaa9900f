"""Books: read through the cache, changed in PostgreSQL."""

from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Any

import asyncpg

from evenkeel.cache import Answer, Disconnected, Entry, LoadError, ReadThrough

Loader = Callable[[Sequence[str]], Coroutine[Any, Any, dict[str, Entry]]]


def loader(pool: Any) -> Loader:
    """Reads the books that no tier of the cache has. An entry is a version and the JSON that answers have."""

    async def load(isbns: Sequence[str]) -> dict[str, Entry]:
        query = "SELECT isbn, version, to_json(books)::text AS book FROM books WHERE isbn = ANY($1)"
        try:
            rows = await pool.fetch(query, list(isbns), timeout=5)
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
            raise Disconnected(str(error)) from error
        except asyncpg.PostgresError as error:
            raise LoadError(str(error)) from error
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
        version: int = await self._pool.fetchval(
            "INSERT INTO books (isbn, title, price) VALUES ($1, $2, $3)"
            " ON CONFLICT (isbn) DO UPDATE SET title = excluded.title, price = excluded.price RETURNING version",
            *(isbn, title, price),
        )
        # After the commit, and before the answer. If the process dies in between, the change log has the change.
        await self._cache.invalidate([isbn])
        return version
