"""The verification's own SQL, which must survive faults of PostgreSQL."""

import asyncio
import re
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.support.ended_connection import end_by_postgres
from tests.support.proxy import Proxy, proxied
from tests.support.users import count

from stack.layout import free_port
from verify.cache import sql
from verify.cache.rows import DELETED_KEPT, Row, Rows
from verify.cache.sql import SqlWriter
from verify.cache.tally import CacheTally

pytestmark = pytest.mark.anyio

USERS = 3


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    async with proxied(database_url, free_port()) as proxy:
        await proxy.open()
        yield proxy


@pytest.fixture
async def rows(database_url: str) -> Rows:
    rows = Rows("run")
    connection = await asyncpg.connect(database_url)
    for _ in range(USERS):
        serial = rows.next_serial()
        rows.add(Row(await connection.fetchval(sql.INSERT, rows.email(serial), "Ada"), serial))
    await connection.close()
    return rows


@pytest.fixture
async def writer(proxy: Proxy, rows: Rows) -> AsyncIterator[SqlWriter]:
    async with SqlWriter(proxy.url, rows, time.monotonic) as writer:
        yield writer


async def test_a_write_that_meets_a_dying_postgresql_is_an_error_that_is_counted(writer: SqlWriter) -> None:
    async with writer._pool.acquire() as connection:
        driver = connection._con
    end_by_postgres(driver)
    tally = CacheTally("kill-postgres", strict=False)
    await writer.write(tally)
    assert (tally.writes, tally.errors.total()) == (0, 1)
    driver.terminate()
    await writer.write(tally)
    assert tally.errors.total() == 1
    assert tally.writes > 0


async def test_cleaning_up_waits_for_postgresql(writer: SqlWriter, proxy: Proxy, database_url: str) -> None:
    await proxy.cut()
    end = CacheTally("end", strict=False)
    cleaning = asyncio.create_task(writer.clean_up(end))
    await asyncio.sleep(0.5)
    assert not cleaning.done()
    assert await count(database_url) == USERS
    await proxy.open()
    await cleaning
    assert await count(database_url) == 0
    assert end.failure is None


async def test_what_cannot_be_cleaned_up_is_told_beside_what_the_phases_found(
    writer: SqlWriter, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "CLEAN_UP_WITHIN", 0.5)
    await proxy.cut()
    end = CacheTally("end", strict=False)
    await writer.clean_up(end)
    [problem] = end.problems()
    assert re.fullmatch(
        r"the users .*, with addresses like verify\.run\.%@.*, are left: .*Connect call failed.*", problem
    )


async def test_a_row_that_is_there_again_may_have_been_forgotten_among_the_deleted(rows: Rows) -> None:
    first = rows.any()
    rows.remove(first)
    for serial in range(DELETED_KEPT):
        other = Row(1000 + serial, serial)
        rows.add(other)
        rows.remove(other)
    rows.restore(first)
    assert first in rows.living
