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
