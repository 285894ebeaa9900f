"""Makes the table and its change log: `python schema.py`, once, before the first replica starts."""

import asyncio

import asyncpg
from settings import Settings

from evenkeel.cache.change_log_schema import install
from evenkeel.service.settings import load

TABLE = """
CREATE TABLE books (
    isbn text PRIMARY KEY,
    title text NOT NULL,
    price numeric(8, 2) NOT NULL,
    version bigint NOT NULL DEFAULT 1
)
"""


async def migrate(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            if await connection.fetchval("SELECT to_regclass('books')") is not None:
                return
            await connection.execute(TABLE)
            # Triggers write each change into the log, in the transaction of the change. They also count the version.
            for statement in install(table="books", key="isbn", version="version", updated_at=None, log="book_changes"):
                await connection.execute(statement)
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(migrate(load(Settings).database_url.get_secret_value()))
