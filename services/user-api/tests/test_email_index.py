"""One address, one user, whatever the locale of the database; and the migration that made it so."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from tests.support.problems import problem
from tests.support.serving import Serve
from tests.support.users import ADA, create

from user_api.migrate import alembic_config, migrate
from user_api.settings import MigrationSettings

pytestmark = pytest.mark.anyio

COMMAND = str(Path(sys.executable).with_name("user-api"))
INSERT = "INSERT INTO users (email, name) VALUES ($1, 'N')"


NEW = 'lower((email COLLATE "C"))'

TURKISH = "lower(translate(email, 'I', '\N{LATIN SMALL LETTER DOTLESS I}'))"
"""What lower(email) is in a Turkish database. PostgreSQL without ICU has no such locale."""


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    """Of a Turkish database, in which I is no capital of i; it is as the release before left it."""
    administrator = await asyncpg.connect(database_url)
    has_icu = await administrator.fetchval("SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'tr-x-icu')")
    locale = "LOCALE_PROVIDER icu ICU_LOCALE 'tr'" if has_icu else ""
    await administrator.execute("DROP DATABASE IF EXISTS turkish WITH (FORCE)")
    await administrator.execute(f"CREATE DATABASE turkish TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' {locale}")
    url = urlsplit(database_url)._replace(path="/turkish").geturl()
    await migrate(MigrationSettings(database_url=url))
    await _downgrade(url)
    if not has_icu:
        await _execute(url, f"DROP INDEX users_email_key; CREATE UNIQUE INDEX users_email_key ON users ({TURKISH})")
    await _execute(url, "INSERT INTO users (email, name) VALUES ('I@example.com', 'N'), ('i@example.com', 'N')")
    await _execute(url, "TRUNCATE users RESTART IDENTITY")
    yield url
    await administrator.execute("DROP DATABASE turkish WITH (FORCE)")
    await administrator.close()


@pytest.fixture
async def turkish(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def test_letter_case_makes_no_other_address(url: str, serve: Serve) -> None:
    await migrate(MigrationSettings(database_url=url))
    async with serve(database_url=url) as client:
        await create(client, email="info@example.com")
        await create(client, email="other@example.com")
        for spelling in ("INFO@EXAMPLE.COM", "Info@example.com"):
            assert problem(await client.post("/v1/users", json=ADA | {"email": spelling})) == (409, "email-taken")
            assert problem(await client.patch("/v1/users/2", json={"email": spelling})) == (409, "email-taken")


@pytest.mark.slow
async def test_users_who_would_collide_are_named_and_nothing_has_changed(url: str, turkish: Any) -> None:
    for email in ("b@example.com", "info@example.com", "INFO@example.com"):
        await turkish.execute(INSERT, email)
    process = await asyncio.create_subprocess_exec(
        COMMAND, "migrate", env={"USER_API_DATABASE_URL": url}, stdout=-1, stderr=-1
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().splitlines()[-1] == (
        "user-api migrate: users 2 and 3 have e-mail addresses that differ in letter case only; "
        "give one of them another address, or delete it, and migrate again"
    )
    assert b"Traceback" not in said
    assert b"nfo@" not in said.lower()
    assert await _indexes(turkish) != [NEW]
    await turkish.execute("DELETE FROM users WHERE id = 3")
    await migrate(MigrationSettings(database_url=url))
    assert await _indexes(turkish) == [NEW]


async def test_an_index_that_was_left_unfinished_is_built_again(url: str, turkish: Any) -> None:
    await turkish.execute("CREATE UNIQUE INDEX users_email_key_unfinished ON users (name)")
    await migrate(MigrationSettings(database_url=url))
    assert await _indexes(turkish) == [NEW]


async def test_writers_go_on_while_the_index_is_built_and_is_named(url: str, turkish: Any) -> None:
    other = await asyncpg.connect(url)
    transaction = turkish.transaction()
    await transaction.start()
    await turkish.execute(INSERT, "a@example.com")
    migrating = asyncio.create_task(migrate(MigrationSettings(database_url=url)))
    begun = "SELECT to_regclass('users_email_key_unfinished') IS NOT NULL"
    # It waits for the transaction under way, and no writer waits for it.
    while not await other.fetchval(begun):  # noqa: ASYNC110 (PostgreSQL has no event for it)
        await asyncio.sleep(0.05)
    await other.execute(INSERT, "b@example.com", timeout=30)
    await transaction.commit()
    await asyncio.wait_for(migrating, 60)
    await other.close()
    assert await turkish.fetchval("SELECT count(*) FROM users") == 2


@pytest.mark.slow
async def test_who_reads_for_long_is_not_made_to_hold_writers_back(url: str, turkish: Any) -> None:
    async with turkish.transaction():
        await turkish.execute("SELECT FROM users")
        with pytest.raises(DBAPIError, match="lock timeout"):
            await asyncio.wait_for(migrate(MigrationSettings(database_url=url)), 60)
    assert len(await _indexes(turkish)) == 2
    await migrate(MigrationSettings(database_url=url))
    assert await _indexes(turkish) == [NEW]


async def test_it_can_be_undone(url: str, turkish: Any) -> None:
    await migrate(MigrationSettings(database_url=url))
    await _downgrade(url)
    assert await _indexes(turkish) == ["lower(email)"]


async def _indexes(connection: Any) -> list[str]:
    """The expressions of the unique indexes on addresses."""
    rows = await connection.fetch(
        "SELECT pg_get_indexdef(indexrelid, 1, false) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE relname LIKE 'users_email_key%' AND indisunique AND indisvalid ORDER BY relname"
    )
    return [row[0] for row in rows]


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def _downgrade(url: str) -> None:
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:", 1))
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_to_the_revision_before)
    finally:
        await engine.dispose()


def _to_the_revision_before(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.downgrade(config, "0003")
