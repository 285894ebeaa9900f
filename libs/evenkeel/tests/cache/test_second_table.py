"""The README's code, on a table that is not ours."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.support.databases import new_database
from tests.support.servers import Servers

from evenkeel.cache import ReadThrough
from evenkeel.cache.change_log_schema import remove

pytestmark = pytest.mark.anyio

README = Path(__file__).parents[2] / "README.md"
LEFT_HAND, DISPOSSESSED, NOBODY = "9780441478125", "9780061054884", "0000000000000"


def code_of_the_readme() -> dict[str, Any]:
    first, *_ = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(first, str(README), "exec"), names)  # noqa: S102 (that it runs is what is tested)
    return names


@pytest.fixture(scope="module")
async def database_url(servers: Servers) -> AsyncIterator[str]:
    async with new_database(servers.postgres, "second_table") as url:
        yield url


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator["asyncpg.Connection"]:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE books (isbn text PRIMARY KEY, title text, version bigint DEFAULT 1)")
    yield connection
    async with connection.transaction():
        for statement in remove(table="books", log="book_changes"):
            await connection.execute(statement)
        await connection.execute("DROP TABLE books")
    await connection.close()


@pytest.fixture
async def books(
    postgres: "asyncpg.Connection", database_url: str, cache_url: str, cache_key: str
) -> AsyncIterator[ReadThrough[bytes]]:
    code = code_of_the_readme()
    async with postgres.transaction():
        for statement in code["STATEMENTS"]:
            await postgres.execute(statement)
    await postgres.execute("INSERT INTO books VALUES ($1, 'The Left Hand of Darkness')", LEFT_HAND)
    async with code["open_books"](database_url, cache_url, cache_key) as books:
        yield books


async def title(books: ReadThrough[bytes], isbn: str) -> str | None:
    payload = (await books.get(isbn)).entry.payload
    return json.loads(payload)["title"] if payload else None


async def test_reads_through_all_tiers(books: ReadThrough[bytes]) -> None:
    answers = [await books.get(LEFT_HAND) for _ in range(3)]
    assert answers[0].source == "database"
    assert {answer.source for answer in answers[1:]} <= {"memory", "redis"}
    assert len({answer.entry.payload for answer in answers}) == 1
    hit = books.peek(LEFT_HAND)
    assert hit is not None
    assert hit.ready == answers[0].entry.payload


async def test_row_that_is_missing_is_remembered_until_it_is_there(
    books: ReadThrough[bytes], postgres: "asyncpg.Connection"
) -> None:
    assert await books.get_many([LEFT_HAND, NOBODY]) == {LEFT_HAND: (await books.get(LEFT_HAND)).entry}
    assert await title(books, DISPOSSESSED) is None
    await postgres.execute("INSERT INTO books VALUES ($1, 'The Dispossessed')", DISPOSSESSED)
    await books.invalidate([DISPOSSESSED])
    assert await title(books, DISPOSSESSED) == "The Dispossessed"


@pytest.mark.parametrize(
    ("statement", "after"),
    [
        ("UPDATE books SET title = 'Winter'", "Winter"),
        ("DELETE FROM books", None),
        ("TRUNCATE books", None),
        ("UPDATE books SET isbn = '9780061054884'", None),
    ],
)
async def test_changes_by_hand_are_seen(
    books: ReadThrough[bytes], postgres: "asyncpg.Connection", statement: str, after: str | None
) -> None:
    for _ in range(3):
        assert await title(books, LEFT_HAND) == "The Left Hand of Darkness"
    await postgres.execute(statement)
    await asyncio.sleep(2)
    for _ in range(3):
        assert await title(books, LEFT_HAND) == after
