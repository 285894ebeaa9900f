"""A database with the tables of user-api, migrated once for a server."""

import asyncio
import functools
from urllib.parse import urlsplit

from tests.support.databases import execute

from user_api.migrate import migrate
from user_api.settings import MigrationSettings


@functools.cache
def _migrated(server: str) -> str:
    asyncio.run(execute(server, "CREATE DATABASE user_api_tests"))
    url = urlsplit(server)._replace(path="/user_api_tests").geturl()
    asyncio.run(migrate(MigrationSettings(database_url=url)))
    return url


def empty_users_database(server: str) -> str:
    """The URL of the database on this server, with the current schema and no users."""
    url = _migrated(server)
    asyncio.run(execute(url, "TRUNCATE users, user_idempotency_records RESTART IDENTITY"))
    return url
