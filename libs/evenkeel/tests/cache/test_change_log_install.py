"""Giving a table a change log, and taking it away."""

import asyncio

import asyncpg
import pytest
from tests.support.books_database import BOOKS, Books

from evenkeel.cache.change_log import ChangeLog
from evenkeel.cache.change_log_schema import install, remove

pytestmark = pytest.mark.anyio


class TestInstall:
    @pytest.mark.parametrize(
        ("type_", "keys"),
        [
            ("text", ["", "a,b", '{"NULL"}', "NULL", "it's", "\\", "ü 😀"]),
            ("uuid", ["5dc0f1f4-31d5-4bd6-9d0e-0e6e1d4f4e0a"]),
            ("integer", ["-1", "2147483647"]),
            ("varchar(5)", ["abc"]),
        ],
    )
    async def test_keys_of_other_types(self, bare: Books, type_: str, keys: list[str]) -> None:
        await bare.execute(
            "DROP TABLE books", BOOKS.replace("id bigint", f"id {type_}").replace("n bigint", "n integer")
        )
        await bare.install()
        state = await bare.state()
        async with bare.connect() as connection:
            await connection.execute(f"INSERT INTO books (id) SELECT unnest($1::text[])::{type_}", keys)
        look = await bare.log.look(state)
        assert look.changes == dict.fromkeys(keys, 1)
        await bare.execute(
            "UPDATE books SET title = 'U'", "SET session_replication_role = replica", "DELETE FROM books"
        )
        assert await bare.changes(look.state) == dict.fromkeys(keys)

    async def test_names_with_schemas_and_capitals(self, bare: Books) -> None:
        await bare.execute(
            "CREATE SCHEMA books",
            'CREATE SCHEMA "Audit"',
            'CREATE TABLE books."Order" ("user" bigint PRIMARY KEY, "select" bigint NOT NULL DEFAULT 1)',
        )
        names = {"table": "books.Order", "log": "Audit.Order_changes"}
        await bare.execute(*install(**names, key="user", version="select", updated_at=None))
        log = ChangeLog(bare.pool, table="books.Order", log="Audit.Order_changes", time_limit=60)
        state = (await log.look(None)).state
        await bare.execute(
            'INSERT INTO books."Order" VALUES (1), (2)',
            'UPDATE books."Order" SET "user" = 3 WHERE "user" = 2',
            'DELETE FROM books."Order" WHERE "user" = 1',
        )
        assert (await log.look(state)).changes == {"1": None, "2": None, "3": 2}
        assert await log.prune(retention=0) == 3
        await bare.execute(*remove(**names), 'DROP SCHEMA "Audit"')

    async def test_two_tables_have_logs_of_their_own(self, books: Books) -> None:
        state = await books.state()
        await books.execute("CREATE TABLE films (id bigint PRIMARY KEY, version bigint NOT NULL DEFAULT 1)")
        await books.execute(*install(table="films", key="id", updated_at=None, log="film_changes"))
        films = ChangeLog(books.pool, table="films", log="film_changes", time_limit=60)
        look = await films.look(state)
        assert look.reason == "the database has another history"
        await books.execute("INSERT INTO films VALUES (7)")
        assert (await films.look(look.state)).changes == {"7": 1}
        assert await books.changes(state) == {}

    async def test_waits_for_writers_and_misses_none(self, bare: Books) -> None:
        async with bare.connect() as writer:
            transaction = writer.transaction()
            await transaction.start()
            await writer.execute("INSERT INTO books (id) VALUES (1)")
            installing = asyncio.create_task(bare.install())
            while not await bare.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)
            waiting = asyncio.create_task(bare.execute("INSERT INTO books (id) VALUES (2)"))
            while await bare.value("SELECT count(*) FROM pg_locks WHERE NOT granted") < 2:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)
            await transaction.commit()
        await asyncio.gather(installing, waiting)
        assert await bare.value("SELECT array_agg(book_id) FROM book_changes") == [[2]]

    async def test_takes_one_transaction(self, bare: Books) -> None:
        statements = install(table="books", key="id", updated_at=None, log="book_changes")
        async with bare.connect() as connection:
            with pytest.raises(asyncpg.NoActiveSQLTransactionError):
                await connection.execute(statements[0])

    async def test_removed_leaves_nothing_behind(self, books: Books) -> None:
        objects = """
            SELECT (SELECT count(*) FROM pg_class) + (SELECT count(*) FROM pg_proc)
                + (SELECT count(*) FROM pg_trigger) + (SELECT count(*) FROM pg_constraint)
        """
        with_log = await books.value(objects)
        await books.execute(*remove(table="books", log="book_changes"))
        without = await books.value(objects)
        await books.execute("INSERT INTO books (id) VALUES (7)", "UPDATE books SET version = 9")
        assert await books.value("SELECT sum(version) FROM books") == 36
        await books.install()
        assert await books.value(objects) == with_log
        await books.execute(*remove(table="books", log="book_changes"))
        assert await books.value(objects) == without

    @pytest.mark.parametrize(
        "statements",
        [
            ["CREATE TABLE odd (id bigint, version bigint) PARTITION BY RANGE (id)"],
            ["CREATE TABLE whole (id bigint, version bigint) PARTITION BY RANGE (id)",
             "CREATE TABLE odd PARTITION OF whole DEFAULT"],
            ["CREATE TABLE odd (id bigint, version bigint)", "CREATE TABLE child () INHERITS (odd)"],
        ],
    )  # fmt: skip
    async def test_refuses_what_it_would_not_cover(self, bare: Books, statements: list[str]) -> None:
        await bare.execute(*statements)
        with pytest.raises(asyncpg.RaiseError, match="covers an ordinary table"):
            await bare.execute(*install(table="odd", key="id", updated_at=None, log="odd_changes"))

    @pytest.mark.parametrize("name", ["", "a b", 'a"b', "a.b.c", ".a", "a.", "1a", "ä", "a" * 64, "x;--"])
    def test_refuses_odd_names(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"identifier|neither"):
            install(table=name, key="id", updated_at=None, log="log")
        with pytest.raises(ValueError, match=r"identifier|neither"):
            remove(table="books", log=name)

    async def test_errors_of_the_database_are_passed_on(self, bare: Books) -> None:
        with pytest.raises(asyncpg.PostgresError, match="does not exist"):
            await bare.log.look(None)
