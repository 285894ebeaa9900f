"""The change log of users: what the migration makes of the table, and what the service leaves to it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx
import pytest
from alembic import command
from alembic.migration import MigrationContext
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from tests.support.users import create, etag

from evenkeel.cache.change_log import ChangeLog
from user_api.migrate import alembic_config, migrate
from user_api.settings import MigrationSettings

pytestmark = pytest.mark.anyio

ASYNCPG = URL.create("postgresql+asyncpg")


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(database_url.replace("postgresql:", "postgresql+asyncpg:", 1))
    yield engine
    await engine.dispose()


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_every_write_of_the_service_is_logged(client: httpx.AsyncClient, engine: AsyncEngine) -> None:
    log = ChangeLog(engine, table="users", log="user_changes", time_limit=60)
    state = (await log.look(None)).state
    await create(client)
    await create(client, email="bob@example.com")
    look = await log.look(state)
    assert look.changes == {"1": 1, "2": 1}
    assert (await client.patch("/v1/users/1", json={"name": "B"})).json()["version"] == 2
    assert (await client.delete("/v1/users/2")).status_code == 204
    assert (await log.look(look.state)).changes == {"1": 2, "2": None}


async def test_the_database_makes_versions_and_times(client: httpx.AsyncClient, connection: Any) -> None:
    user = await create(client)
    await connection.execute("UPDATE users SET version = 1, updated_at = 'epoch', name = 'By hand'")
    headers = {"Cache-Control": "no-cache"}
    by_hand = (await client.get("/v1/users/1", headers=headers)).json()["data"]
    assert by_hand == user | {"name": "By hand", "version": 2, "updated_at": by_hand["updated_at"]}
    assert by_hand["updated_at"] > user["updated_at"]
    patched = (await client.patch("/v1/users/1", json={"name": "B"}, headers={"If-Match": await etag(client)})).json()
    assert patched == by_hand | {"name": "B", "version": 3, "updated_at": patched["updated_at"]}
    assert patched["updated_at"] > by_hand["updated_at"]
    assert (await client.get("/v1/users/1", headers=headers)).json()["data"] == patched


async def test_the_release_before_runs_on_the_new_schema(client: httpx.AsyncClient, connection: Any) -> None:
    """It counted versions itself, in these words."""
    await create(client)
    version = await connection.fetchval(
        "UPDATE users SET name = 'B', version = users.version + 1, updated_at = clock_timestamp() RETURNING version"
    )
    assert version == 2


async def test_the_migration_can_be_undone_and_made_again(before: Any, settings: MigrationSettings) -> None:
    await before.execute("INSERT INTO users (email, name) VALUES ('a@example.com', 'A')")
    assert await before.fetchval("UPDATE users SET version = 7 RETURNING version") == 7
    assert await before.fetchval("SELECT to_regclass('user_changes')") is None
    await migrate(settings)
    assert await before.fetchval("UPDATE users SET version = 7 RETURNING version") == 8


async def test_a_database_of_the_release_before_gets_tags_and_another_log(
    before: Any, settings: MigrationSettings
) -> None:
    """Its log had other columns, and no functions to look and to prune."""
    await _migrate_to(settings, "0002")
    await before.execute("INSERT INTO users (email, name) VALUES ('a@example.com', 'A'), ('b@example.com', 'B')")
    await before.execute(
        "DROP FUNCTION user_changes_look, user_changes_prune; ALTER TABLE user_changes DROP place;"
        "ALTER TABLE user_changes_horizon DROP cleared, DROP marks, DROP marked, DROP at_xid, DROP at_place"
    )
    await migrate(settings)
    tags = [row["tag"] for row in await before.fetch("SELECT tag FROM users")]
    assert len(set(tags)) == 2
    await before.execute("UPDATE users SET name = 'U', tag = '00000000-0000-0000-0000-000000000000' WHERE id = 1")
    assert await before.fetchval("SELECT tag FROM users WHERE id = 1") not in [*tags, UUID(int=0)]
    assert await before.fetchval("SELECT tag FROM users WHERE id = 2") in tags
    engine = create_async_engine(ASYNCPG, connect_args=settings.database.place)
    log = ChangeLog(engine, table="users", log="user_changes", time_limit=60)
    state = (await log.look(None)).state
    await before.execute("DELETE FROM users WHERE id = 2")
    assert (await log.look(state)).changes == {"2": None}
    await engine.dispose()


async def test_a_database_of_the_release_before_gets_the_functions_of_this_one(
    before: Any, settings: MigrationSettings
) -> None:
    """Beside the log that it has: what caches know of it stays good."""
    await _migrate_to(settings, "0005")
    engine = create_async_engine(ASYNCPG, connect_args=settings.database.place)
    log = ChangeLog(engine, table="users", log="user_changes", time_limit=60)
    state = (await log.look(None)).state
    await before.execute("DROP FUNCTION user_changes_analyze")
    await before.execute("INSERT INTO users (email, name) VALUES ('a@example.com', 'A')")
    await migrate(settings)
    assert (await log.look(state)).changes == {"1": 1}
    await before.execute("CREATE TABLE child () INHERITS (users); DROP TABLE child; SELECT user_changes_analyze()")
    assert (await log.look(state)).reason == "the whole table may have changed"
    await engine.dispose()


async def test_tags_can_be_taken_away_again(before: Any, settings: MigrationSettings) -> None:
    await migrate(settings)
    await before.execute("INSERT INTO users (email, name) VALUES ('a@example.com', 'A')")
    await _migrate_to(settings, "0002")
    assert await before.fetchval("UPDATE users SET name = 'B' RETURNING version") == 2
    assert await before.fetchval("SELECT count(*) FROM user_changes") == 1
    with pytest.raises(asyncpg.UndefinedColumnError):
        await before.execute("SELECT tag FROM users")


@pytest.mark.slow
async def test_the_migration_gives_up_rather_than_hold_writers_back(before: Any, settings: MigrationSettings) -> None:
    async with before.transaction():
        await before.execute("INSERT INTO users (email, name) VALUES ('a@example.com', 'A')")
        with pytest.raises(DBAPIError, match="lock timeout"):
            await asyncio.wait_for(migrate(settings), 20)
    await migrate(settings)
    assert await before.fetchval("UPDATE users SET version = 7 RETURNING version") == 2


@pytest.fixture
def settings(database_url: str) -> MigrationSettings:
    """Of a database of its own."""
    return MigrationSettings(database_url=urlsplit(database_url)._replace(path="/migrated").geturl())


@pytest.fixture
async def before(settings: MigrationSettings, connection: Any, database_url: str) -> AsyncIterator[Any]:
    """A connection to that database, at the revision before the change log."""
    await connection.execute("DROP DATABASE IF EXISTS migrated WITH (FORCE)")
    await connection.execute("CREATE DATABASE migrated")
    await migrate(settings)
    await _migrate_to(settings, "0001")
    database = await asyncpg.connect(urlsplit(database_url)._replace(path="/migrated").geturl())
    yield database
    await database.close()
    await connection.execute("DROP DATABASE migrated WITH (FORCE)")


async def _migrate_to(settings: MigrationSettings, revision: str) -> None:
    engine = create_async_engine(ASYNCPG, connect_args=settings.database.place)
    async with engine.connect() as migrating:
        await migrating.run_sync(_run_migrations, revision)
    await engine.dispose()


def _run_migrations(connection: Connection, revision: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    with connection.begin():
        found = MigrationContext.configure(connection).get_current_revision() or ""
    (command.upgrade if found < revision else command.downgrade)(config, revision)
    connection.commit()
