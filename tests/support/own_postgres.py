"""A PostgreSQL for one test module, which may freeze, stop and kill it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.child import Child

from stack.credentials import Credentials
from stack.layout import free_port
from stack.postgres import ADMIN, DATABASE, Postgres
from user_api.migrate import migrate
from user_api.settings import MigrationSettings


@asynccontextmanager
async def own_postgres(directory: Path) -> AsyncIterator[tuple[Child, str]]:
    """The server with the current schema, and its URL."""
    credentials = Credentials()
    port = free_port()
    postgres = Postgres(directory / "data", port, credentials, directory / "initdb.log")
    await postgres.create()
    url = f"postgresql://{ADMIN}:{credentials.postgres_admin}@127.0.0.1:{port}/{DATABASE}"
    async with Child(postgres.program(), directory / "postgres.log") as child:
        await migrate(MigrationSettings(database_url=url))
        yield child, url
