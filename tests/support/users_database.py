"""Databases with the tables of user-api, migrated once for a server."""

import asyncio
import functools
from urllib.parse import urlsplit

from tests.support.databases import execute

from user_api.migrate import migrate
from user_api.settings import MigrationSettings


@functools.cache
def migrated_database(server: str, name: str) -> str:
    """The URL of the database of this name on the server. The first call makes it, without users."""
    asyncio.run(execute(server, f"CREATE DATABASE {name}"))
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    asyncio.run(migrate(MigrationSettings(database_url=url)))
    return url


def empty_users_database(server: str) -> str:
    """The URL of the database that tests change, with the current schema and no users."""
    url = migrated_database(server, "user_api_tests")
    asyncio.run(execute(url, "TRUNCATE users, user_idempotency_records RESTART IDENTITY"))
    return url
