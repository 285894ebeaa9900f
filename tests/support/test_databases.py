"""A database that is emptied has nothing of what was in it."""

import asyncpg
import pytest
from tests.support.databases import connection_to, emptied_database, execute
from tests.support.servers import Servers

pytestmark = pytest.mark.anyio

CONTENTS = """
    SELECT nspname, nspowner::regrole::text, nspacl::text FROM pg_namespace
    UNION ALL SELECT relname, NULL, NULL FROM pg_class
    UNION ALL SELECT proname, NULL, NULL FROM pg_proc
    UNION ALL SELECT typname, NULL, NULL FROM pg_type
    UNION ALL SELECT pubname, NULL, NULL FROM pg_publication
    ORDER BY 1, 2, 3
"""


async def test_it_has_what_a_new_one_has(servers: Servers) -> None:
    url = await emptied_database(servers.postgres, "emptied")
    async with connection_to(url) as left_over:
        new = await left_over.fetch(CONTENTS)
        await execute(
            url,
            "CREATE TABLE things (id serial PRIMARY KEY)",
            "CREATE SCHEMA other CREATE TABLE others (thing integer REFERENCES public.things)",
            "CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "CREATE PUBLICATION things FOR TABLE things",
            "GRANT CREATE ON SCHEMA public TO PUBLIC",
        )
        assert await emptied_database(servers.postgres, "emptied") == url
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
            await left_over.fetch("SELECT 1")
    async with connection_to(url) as connection:
        assert await connection.fetch(CONTENTS) == new
    await execute(servers.postgres, "DROP DATABASE emptied")
