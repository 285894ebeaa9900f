"""Bring the schema up to date, by a command that runs before the replicas start. Replicas never do so themselves."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from evenkeel.tasks.failures import first_line
from user_api import schema_version
from user_api.database import connect_arguments
from user_api.settings import MigrationSettings

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds to wait for PostgreSQL."""

TURN_INTERVAL = 0.2
"""Seconds between two checks whether another process has finished."""

# Any number, as long as all processes that migrate use the same one.
_ADVISORY_LOCK = 0x65_76_65_6E_6B_65_65_6C

# The database or the role may have time limits that are too short for a migration.
_NO_LIMITS = text(
    "SELECT set_config(name, '0', true) FROM unnest(ARRAY['statement_timeout', 'lock_timeout',"
    " 'idle_in_transaction_session_timeout', 'transaction_timeout']) AS name"
    " WHERE current_setting(name, true) IS NOT NULL"
)


class MigrationRefused(Exception):
    """The data does not permit the migration. The message says what to do."""


async def migrate(settings: MigrationSettings, *, patience: float = PATIENCE) -> None:
    """Run all migrations that the database lacks. If several processes do so at once, one runs them, the others wait.

    If PostgreSQL does not answer for `patience` seconds, raises the error of the last attempt to connect. Also raises
    MigrationRefused.
    """
    engine = _engine(settings)
    try:
        await _wait(engine, patience)
        while await _is_old(engine) and not await _migrated(engine):  # noqa: ASYNC110 (another process's lock)
            await asyncio.sleep(TURN_INTERVAL)
    finally:
        await engine.dispose()


def _engine(settings: MigrationSettings) -> AsyncEngine:
    address = settings.database
    return create_async_engine(
        URL.create("postgresql+asyncpg"),
        poolclass=NullPool,
        # Parameters are personal data, and errors are logged.
        hide_parameters=True,
        # A pooler lends a session for one transaction, so statements keep no names.
        connect_args=address.place | connect_arguments(address, "migrate") | {"prepared_statement_cache_size": 0},
    )


async def _revision(engine: AsyncEngine) -> str | None:
    """The latest migration that the database has; None: there was none yet."""
    async with engine.connect() as connection:
        if not await connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
            return None
        found: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


async def _is_old(engine: AsyncEngine) -> bool:
    """Whether there is anything to migrate."""
    found = await _revision(engine)
    if schema_version.is_newer(found):
        log.warning("the schema is of a newer release, and is left as it is", extra={"revision": found})
        return False
    return found != schema_version.REVISIONS[-1]


async def _migrated(engine: AsyncEngine) -> bool:
    """Run the migrations. False if another process is doing so."""
    # The lock has a transaction of its own, so that a migration may commit in between. It belongs to the transaction,
    # not to the session, which a pooler may lend to another client before the lock ends. Processes that wait hold no
    # connection meanwhile, or many of them would leave none in a pooler for the work.
    async with engine.begin() as lock:
        await lock.execute(_NO_LIMITS)
        if not await lock.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK}):
            return False
        # PostgreSQL keeps the snapshot of the last query until the next statement, and an index that is built
        # concurrently would wait for it for ever. SET has no snapshot.
        await lock.execute(text("SET LOCAL lock_timeout = 0"))
        if await _is_old(engine):  # another process may have migrated between the two looks
            async with engine.connect() as connection:
                await connection.run_sync(_upgrade)
        return True


def alembic_config() -> "Config":
    """The configuration with the folder of migrations: inside the package in a wheel, beside src/ in a checkout."""
    from alembic.config import Config  # noqa: PLC0415 (the start of most pods finds nothing to migrate)

    package = Path(__file__).resolve().parent
    installed = package / "migrations"
    folder = installed if installed.is_dir() else package.parents[1] / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 (see above)

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _wait(engine: AsyncEngine, patience: float) -> None:
    deadline = asyncio.get_running_loop().time() + patience
    pause = 0.1
    while True:
        try:
            async with engine.connect():
                return
        except (OSError, DBAPIError) as error:
            lasting = isinstance(error, DBAPIError) and not _may_pass(error)
            if lasting or asyncio.get_running_loop().time() + pause > deadline:
                raise
            log.warning("PostgreSQL does not answer yet", extra={"reason": first_line(error), "seconds": pause})
        await asyncio.sleep(pause)
        pause = min(pause * 2, 5)


def _may_pass(error: DBAPIError) -> bool:
    """Whether PostgreSQL is starting, stopping, full or gone (SQLSTATE classes 08, 53 and 57, or none at all)."""
    return (getattr(error.orig, "sqlstate", None) or "08")[:2] in {"08", "53", "57"}
