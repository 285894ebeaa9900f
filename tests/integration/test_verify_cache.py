"""`verify cache` on a stack of its own, whose processes it may all break."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from tests.integration.conftest import VERIFY, Stack
from tests.support.users import count

from verify.cache.verification import PHASES

SCHEMA = """
SELECT 'table', relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT attname, format_type(atttypid, atttypmod), concat(attnotnull, attidentity, attgenerated, pg_get_expr(
        (SELECT adbin FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum), attrelid))
    FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT tgname, tgenabled::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'users'::regclass
UNION ALL SELECT conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = 'users'::regclass
UNION ALL SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = 'users'::regclass
UNION ALL SELECT 'relative', inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits
"""


async def _schema(database_url: str) -> set[tuple[str, ...]]:
    connection = await asyncpg.connect(database_url)
    try:
        return {tuple(record) for record in await connection.fetch(SCHEMA)}
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Embedded servers also if other tests use containers, because a verification breaks processes by their ids."""
    stack = Stack(tmp_path_factory.mktemp("breakable"))
    with stack.running("--sidecars", user_api=3, counter_api=0):
        yield stack


def _verify(stack: Stack, *arguments: str) -> tuple[int, dict[str, Any]]:
    ended = subprocess.run(
        [VERIFY, "--directory", str(stack.directory), "cache", "--json", *arguments],
        stdout=subprocess.PIPE,
        check=False,
        timeout=600,
    )
    document: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, document


@pytest.fixture(scope="module")
def schema(breakable: Stack) -> set[tuple[str, ...]]:
    """The users' rows before the verification begins."""
    return asyncio.run(_schema(_postgres(breakable)))


def _postgres(stack: Stack) -> str:
    [postgres] = [process for process in stack.status()["processes"] if process["service"] == "postgres"]
    return str(postgres["dsn"])


@pytest.mark.slow
@pytest.mark.usefixtures("schema")
def test_no_promise_is_broken_whatever_breaks(breakable: Stack) -> None:
    status, document = _verify(breakable, "--seconds", "3")
    phases = {phase["phase"]: phase for phase in document["phases"]}
    found = {name: phase["problems"] + phase["examples"] for name, phase in phases.items()}
    assert found == {name: [] for name in PHASES.disruptions}
    assert (status, document["ok"]) == (0, True)
    calm = phases["none"]
    assert calm["own_reads"] > 0
    # The caches worked: reads that always come from PostgreSQL are never stale.
    assert 2 * (calm["sources"]["memory"] + calm["sources"]["redis"]) > calm["sources"]["database"]


@pytest.mark.slow
def test_the_stack_is_whole_afterwards_and_no_user_is_left(breakable: Stack, schema: set[tuple[str, ...]]) -> None:
    assert {process["state"] for process in breakable.status()["processes"]} == {"healthy"}
    assert asyncio.run(count(_postgres(breakable))) == 0
    assert asyncio.run(_schema(_postgres(breakable))) == schema
