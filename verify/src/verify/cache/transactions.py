"""Large statements, and a transaction that stays open."""

import asyncio
import time

from verify.cache.rows import Row
from verify.cache.scene import Scene, let_it_be_read
from verify.cache.sql import INSERT, UPDATE_MANY, connected, learn

BULK = 60_000
"""Rows of one statement: more than the change log lists one by one."""

ASIDE = 20
"""Users of the run that are changed along with the others. Nothing else changes them meanwhile."""

OPEN = 4.0
"""Seconds that a transaction stays open and writes: longer than the promised time."""

OPEN_PAUSE = 0.1
"""Seconds between its statements."""

BULK_INSERT = """
INSERT INTO users (email, name) SELECT $1 || n || '@example.com', 'Bulk' FROM generate_series(1, $2::integer) AS n
"""
BULK_UPDATE = "UPDATE users SET name = $3 WHERE email LIKE $1 || '%' OR id = ANY($2)"
BULK_DELETE = "DELETE FROM users WHERE email LIKE $1 || '%'"


async def bulk(scene: Scene) -> None:
    """Insert, update and delete tens of thousands of rows, some of them of this run, by one statement each."""
    rows, prefix = scene.rows, f"{scene.rows.prefix}bulk-"
    async with connected(scene.local.dsn) as connection:
        await connection.execute(BULK_INSERT, prefix, BULK)
        await let_it_be_read()
        with rows.aside(ASIDE) as aside:
            await connection.execute(BULK_UPDATE, prefix, [row.id for row in aside], rows.next_name())
            await learn(connection, rows, scene.tally)
            await let_it_be_read()
        await connection.execute(BULK_DELETE, prefix)


async def stay_open(scene: Scene) -> None:
    """Update the same users again and again, and insert others, while other writers commit; then commit everything."""
    rows = scene.rows
    inserted: list[Row] = []
    async with connected(scene.local.dsn) as connection:
        with rows.aside(ASIDE) as aside:
            async with connection.transaction():
                end = time.monotonic() + OPEN
                while time.monotonic() < end:
                    await connection.fetch(UPDATE_MANY, [row.id for row in aside], rows.next_name())
                    serial = rows.next_serial()
                    user = await connection.fetchrow(INSERT, rows.email(serial), rows.next_name())
                    inserted.append(Row(user["id"], serial))
                    await asyncio.sleep(OPEN_PAUSE)
            for row in inserted:
                rows.add(row)
            await learn(connection, rows, scene.tally)
            await let_it_be_read()
