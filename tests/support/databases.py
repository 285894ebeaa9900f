"""Databases of their own on a server that several tests share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg


@asynccontextmanager
async def new_database(server: str, name: str) -> AsyncIterator[str]:
    """The URL of an empty database on the server with this URL, whose role is a superuser. It is dropped at the end."""
    await execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        await execute(server, f"DROP DATABASE {name} WITH (FORCE)")


EMPTY = """
DO $$
DECLARE name text;
BEGIN
    PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    FOR name IN SELECT pubname FROM pg_publication LOOP
        EXECUTE format('DROP PUBLICATION %I', name);
    END LOOP;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
END $$
"""
"""Ends what still uses the database. Then its schemas are those of a new database, and it has nothing else."""


async def emptied_database(server: str, name: str) -> str:
    """The URL of a database that is as good as new. To create one takes ten times as long as to empty one."""
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    async with connection_to(server) as connection:
        exists = await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name)
        if not exists:
            await connection.execute(f"CREATE DATABASE {name}")
    if exists:
        await execute(url, EMPTY)
    return url


async def execute(url: str, *statements: str) -> None:
    async with connection_to(url) as connection:
        for statement in statements:
            await connection.execute(statement)


@asynccontextmanager
async def connection_to(url: str, **credentials: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url, **credentials)
    try:
        yield connection
    finally:
        await connection.close()
