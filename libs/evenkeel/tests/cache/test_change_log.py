"""What is logged, whoever writes it, and when it is seen."""

import random
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from tests.support.books_database import Books

from evenkeel.cache.change_log import ChangeLog
from evenkeel.cache.change_log_schema import MOST_CHANGES, install

pytestmark = pytest.mark.anyio


class TestWhatIsLogged:
    @pytest.mark.parametrize(
        ("statements", "changes"),
        [
            (["INSERT INTO books (id) VALUES (7), (8)"], {"7": 1, "8": 1}),
            (["INSERT INTO books (id, version) VALUES (7, 40)"], {"7": 40}),
            (["UPDATE books SET title = 'U'"], {"1": 2, "2": 2, "3": 2}),
            (["UPDATE books SET title = 'U' WHERE id = 2", "UPDATE books SET title = 'V'"], {"1": 2, "2": 3, "3": 2}),
            (["UPDATE books SET version = 1 WHERE id = 2"], {"2": 2}),
            (["UPDATE books SET version = 99, title = 'U' WHERE id = 2"], {"2": 2}),
            (["DELETE FROM books WHERE id > 1"], {"2": None, "3": None}),
            (["DELETE FROM books WHERE id = 1", "INSERT INTO books (id, version) VALUES (1, 9)"], {"1": None}),
            (["INSERT INTO books VALUES (7)", "UPDATE books SET title = 'U' WHERE id = 7"], {"7": 2}),
            (["INSERT INTO books (id) VALUES (3), (4) ON CONFLICT (id) DO UPDATE SET title = 'U'"], {"3": 2, "4": 1}),
            (["INSERT INTO books (id) VALUES (3), (4) ON CONFLICT DO NOTHING"], {"4": 1}),
            (
                [
                    """
                    MERGE INTO books USING generate_series(1, 4) AS given (id) ON books.id = given.id
                    WHEN MATCHED AND given.id = 1 THEN DELETE
                    WHEN MATCHED AND given.id = 2 THEN UPDATE SET title = 'U'
                    WHEN NOT MATCHED THEN INSERT (id) VALUES (given.id)
                    """
                ],
                {"1": None, "2": 2, "4": 1},
            ),
            (
                ["WITH gone AS (DELETE FROM books WHERE id = 1 RETURNING 7) INSERT INTO books (id) SELECT * FROM gone"],
                {"1": None, "7": 1},
            ),
            (["UPDATE books SET id = 9 WHERE id = 1"], {"1": None, "9": 2}),
            # Another row at the same key: versions of two rows do not compare.
            (
                [
                    "UPDATE books SET title = 'U' WHERE id = 2",
                    "DELETE FROM books WHERE id = 3",
                    "UPDATE books SET id = id + 1 WHERE id = 2",
                    "UPDATE books SET id = id + 1 WHERE id = 1",
                ],
                {"1": None, "2": None, "3": None},
            ),
            (
                [
                    """
                    DO $$ BEGIN DELETE FROM books WHERE id = 1; PERFORM 1 / 0;
                    EXCEPTION WHEN division_by_zero THEN UPDATE books SET title = 'U' WHERE id = 2; END $$
                    """
                ],
                {"2": 2},
            ),
        ],
    )
    async def test_statements(self, books: Books, statements: list[str], changes: dict[str, int | None]) -> None:
        state = await books.state()
        await books.execute(*statements)
        assert await books.changes(state) == changes

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE books SET title = 'U' WHERE id = 99",
            "DELETE FROM books WHERE false",
            "INSERT INTO books SELECT * FROM books WHERE false",
            "INSERT INTO books (id) VALUES (1) ON CONFLICT DO NOTHING",
            "MERGE INTO books USING unnest(ARRAY[8]) AS given (id) ON books.id = given.id WHEN MATCHED THEN DELETE",
        ],
    )
    async def test_a_statement_that_changes_nothing_logs_nothing(self, books: Books, statement: str) -> None:
        rows = await books.value("SELECT count(*) FROM book_changes")
        await books.execute(statement)
        assert await books.value("SELECT count(*) FROM book_changes") == rows

    async def test_keys_that_swap_are_as_if_deleted(self, books: Books) -> None:
        await books.execute(
            "ALTER TABLE books DROP CONSTRAINT books_pkey",
            "ALTER TABLE books ADD PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED",
            *["UPDATE books SET title = 'U' WHERE id = 1"] * 4,
        )
        state = await books.state()
        await books.execute("UPDATE books SET id = 3 - id WHERE id < 3")
        # At key 1 is now version 2 of the other row, and an entry of version 5 may be in a cache.
        assert await books.value("SELECT version FROM books WHERE id = 1") == 2
        assert await books.changes(state) == {"1": None, "2": 6}

    async def test_copy(self, books: Books) -> None:
        state = await books.state()
        async with books.connect() as connection:
            await connection.copy_records_to_table("books", records=[(i,) for i in range(10, 2010)], columns=["id"])
        assert await books.changes(state) == {str(i): 1 for i in range(10, 2010)}
        assert await books.value("SELECT count(*) FROM book_changes") == 2

    async def test_truncate_is_everything(self, books: Books) -> None:
        state = await books.state()
        await books.execute("TRUNCATE books")
        look = await books.log.look(state)
        assert (look.changes, look.reason) == (None, "the table was rewritten or emptied")
        assert await books.changes(look.state) == {}

    async def test_cascades(self, books: Books) -> None:
        await books.execute(
            "CREATE TABLE shelves (id bigint PRIMARY KEY)",
            "INSERT INTO shelves VALUES (1), (2)",
            "ALTER TABLE books ADD shelf bigint REFERENCES shelves ON DELETE CASCADE ON UPDATE CASCADE",
            "UPDATE books SET shelf = 1 WHERE id <> 3",
            "UPDATE books SET shelf = 2 WHERE id = 3",
        )
        state = await books.state()
        await books.execute("DELETE FROM shelves WHERE id = 1", "UPDATE shelves SET id = 7 WHERE id = 2")
        assert await books.changes(state) == {"1": None, "2": None, "3": 3}
        state = await books.state()
        await books.execute("TRUNCATE shelves CASCADE")
        assert await books.changes(state) is None

    async def test_what_is_rolled_back_never_was(self, books: Books) -> None:
        state = await books.state()
        async with books.connect() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("DELETE FROM books")
            await transaction.rollback()
        assert await books.changes(state) == {}
        await books.execute(
            "UPDATE books SET title = 'U' WHERE id = 1",
            "SAVEPOINT a",
            "TRUNCATE books",
            "ROLLBACK TO a",
            "SAVEPOINT b",
            "UPDATE books SET title = 'U' WHERE id = 3",
            "RELEASE b",
        )
        assert await books.changes(state) == {"1": 2, "3": 2}

    async def test_more_rows_than_worth_logging_are_a_range(self, books: Books) -> None:
        state = await books.state()
        await books.execute(("INSERT INTO books (id) SELECT 3 + i FROM generate_series(1, $1) AS i", MOST_CHANGES))
        look = await books.log.look(state, limit=10 * MOST_CHANGES)
        assert look.changes is not None
        assert (len(look.changes), look.ranges) == (MOST_CHANGES, [])
        most = MOST_CHANGES
        for statement, (low, high) in (
            (("UPDATE books SET title = 'U' WHERE id BETWEEN 2 AND $1", most + 2), (2, most + 2)),
            (("UPDATE books SET id = -id WHERE id > 2 AND id < $1", most), (-most + 1, most - 1)),  # twice as many keys
            (("UPDATE books SET id = id + 9000000 WHERE id <= $1", most + 3), (-most + 1, most + 3 + 9_000_000)),
            ("DELETE FROM books", (9_000_001 - most, 9_000_003 + most)),
            (("INSERT INTO books (id) SELECT generate_series(5, $1::bigint)", most + 9), (5, most + 9)),
        ):
            state = await books.state()
            await books.execute(statement)
            look = await books.log.look(state)
            assert (look.changes, look.ranges, look.reason) == ({}, [(low, high)], None), statement
            assert await books.value("SELECT book_id FROM book_changes ORDER BY xid DESC LIMIT 1") == [None]

    async def test_ranges_beside_other_changes(self, books: Books) -> None:
        state = await books.state()
        insert = "INSERT INTO books (id) SELECT $1 + i FROM generate_series(0, 50000) AS i"
        await books.execute((insert, 1_000_000), "UPDATE books SET title = 'U' WHERE id < 3", (insert, -70_000))
        await books.execute("DELETE FROM books WHERE id = 3")
        look = await books.log.look(state)
        assert look.changes == {"1": 2, "2": 2, "3": None}
        assert sorted(look.ranges) == [(-70_000, -20_000), (1_000_000, 1_050_000)]
        assert (await books.log.look(state, limit=6)).reason == "more than 6 changes"
        await books.execute("TRUNCATE books")
        look = await books.log.look(state)
        assert (look.changes, look.ranges) == (None, ())

    @pytest.mark.parametrize("key", ["text", "numeric"])
    async def test_keys_that_are_no_integers_have_no_range(self, books: Books, key: str) -> None:
        await books.execute(
            f"CREATE TABLE places (id {key} PRIMARY KEY, version bigint NOT NULL DEFAULT 1)",
            *install(table="places", key="id", updated_at=None, log="place_changes"),
        )
        log = ChangeLog(books.pool, table="places", log="place_changes", time_limit=60)
        for statement in (
            f"INSERT INTO places (id) SELECT i::{key} FROM generate_series(0, 50000) AS i",  # noqa: S608 (a type)
            "UPDATE places SET version = 0",
            "DELETE FROM places",
        ):
            state = (await log.look(None)).state
            await books.execute(statement)
            look = await log.look(state)
            assert (look.changes, look.reason) == (None, "the whole table may have changed")

    @pytest.mark.parametrize("key", ["smallint", "integer"])
    async def test_smaller_integers_have_ranges(self, books: Books, key: str) -> None:
        await books.execute(
            f"CREATE TABLE places (id {key} PRIMARY KEY, version bigint NOT NULL DEFAULT 1)",
            *install(table="places", key="id", updated_at=None, log="place_changes"),
        )
        log = ChangeLog(books.pool, table="places", log="place_changes", time_limit=60)
        state = (await log.look(None)).state
        await books.execute("INSERT INTO places (id) SELECT generate_series(-25001, 25000)")
        look = await log.look(state)
        assert (look.changes, look.ranges) == ({}, [(-25_001, 25_000)])

    async def test_database_sets_version_and_time(self, books: Books) -> None:
        before = await books.value("SELECT clock_timestamp()")
        row = "UPDATE books SET version = -5, changed = 'epoch' WHERE id = 1 RETURNING (version, changed)"
        version, changed = await books.value(row)
        assert version == 2
        assert before < changed < await books.value("SELECT clock_timestamp()")


class TestWhoWrites:
    async def test_a_role_without_rights_on_the_log(self, books: Books) -> None:
        await books.execute(
            "CREATE ROLE clerk LOGIN PASSWORD 'clerk'",
            "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON books TO clerk",
            "GRANT CREATE ON DATABASE change_log TO clerk",
        )
        try:
            state = await books.state()
            async with books.connect(user="clerk", password="clerk") as clerk:
                # What could stand in for the names that the functions use.
                await clerk.execute("CREATE TEMP TABLE book_changes (xid xid8, book_id bigint[], version bigint[])")
                await clerk.execute(
                    """
                    CREATE SCHEMA own;
                    CREATE FUNCTION own.add(bigint, integer) RETURNS bigint LANGUAGE sql AS 'SELECT 1000';
                    CREATE OPERATOR own.+ (FUNCTION = own.add, LEFTARG = bigint, RIGHTARG = integer);
                    CREATE FUNCTION own.pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS $$ SELECT '1'::xid8 $$;
                    SET search_path = own, pg_catalog, public
                    """
                )
                await clerk.execute("INSERT INTO books (id) VALUES (7)")
                await clerk.execute("UPDATE books SET title = 'U' WHERE id = 1")
                await clerk.execute("DELETE FROM books WHERE id = 2")
                assert await clerk.fetchval("SELECT count(*) FROM pg_temp.book_changes") == 0
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await clerk.execute("SELECT FROM public.book_changes")
                await clerk.execute("CREATE TEMP TABLE mine (id bigint)")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await clerk.execute(
                        "CREATE TRIGGER t AFTER TRUNCATE ON mine EXECUTE FUNCTION book_changes_by_statement()"
                    )
                assert await books.changes(state) == {"1": 2, "2": None, "7": 1}
                await clerk.execute("TRUNCATE books")
            assert await books.changes(state) is None
        finally:
            await books.execute("DROP OWNED BY clerk", "DROP ROLE clerk")

    async def test_a_role_that_is_no_superuser_polls_and_prunes(self, books: Books) -> None:
        await books.execute(
            "CREATE ROLE librarian LOGIN PASSWORD 'librarian'",
            "GRANT SELECT, DELETE ON book_changes TO librarian",
            "GRANT SELECT, INSERT, UPDATE ON book_changes_horizon TO librarian",
        )
        try:
            async with asyncpg.create_pool(books.url, user="librarian", password="librarian", min_size=0) as pool:
                log = ChangeLog(pool, table="books", log="book_changes", time_limit=60)
                state = (await log.look(None)).state
                await books.execute("DELETE FROM books")
                look = await log.look(state)
                assert look.changes == {"1": None, "2": None, "3": None}
                assert await log.prune(retention=0) == 2
                assert await books.changes(look.state) == {}
        finally:
            await books.execute("DROP OWNED BY librarian", "DROP ROLE librarian")

    async def test_in_the_role_of_a_replica(self, books: Books) -> None:
        state = await books.state()
        await books.execute(
            "SET LOCAL session_replication_role = replica",
            "INSERT INTO books (id) VALUES (7), (8)",
            "UPDATE books SET version = 1 WHERE id = 1",
            "UPDATE books SET id = 9 WHERE id = 8",
            "DELETE FROM books WHERE id = 2",
        )
        assert await books.changes(state) == {"1": 2, "2": None, "7": 1, "8": None, "9": None}
        assert await books.value("SELECT version FROM books WHERE id = 1") == 2
        await books.execute("SET LOCAL session_replication_role = replica", "TRUNCATE books")
        assert await books.changes(state) is None


class TestOrder:
    async def test_a_long_transaction_holds_nothing_back_and_is_seen_when_it_commits(self, books: Books) -> None:
        async with books.connect() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("UPDATE books SET title = 'U' WHERE id = 1")
            states = [await books.state()]
            for _ in range(3):
                await books.execute("UPDATE books SET title = 'U' WHERE id = 2")
                look = await books.log.look(states[-1])
                assert look.changes == {"2": len(states) + 1}  # and not what was committed before
                states.append(look.state)
            await connection.execute("DELETE FROM books WHERE id = 3")
            assert await books.changes(states[-1]) == {}
            await transaction.commit()
        assert await books.changes(states[-1]) == {"1": 2, "3": None}
        assert await books.changes(states[0]) == {"1": 2, "2": 4, "3": None}
        assert await books.changes(await books.state()) == {}

    async def test_commits_in_the_reverse_order_of_their_transactions(self, books: Books) -> None:
        state = await books.state()
        async with books.connect() as first, books.connect() as second:
            opened = first.transaction(), second.transaction()
            for key, (connection, transaction) in enumerate(zip((first, second), opened, strict=True), start=1):
                await transaction.start()
                await connection.execute("UPDATE books SET title = 'U' WHERE id = $1", key)
            await opened[1].commit()
            look = await books.log.look(state)
            assert look.changes == {"2": 2}
            await opened[0].commit()
            look = await books.log.look(look.state)
            assert look.changes == {"1": 2}
            assert await books.changes(look.state) == {}

    @pytest.mark.parametrize("seed", range(4))
    async def test_a_cache_that_follows_the_log_ends_up_right(self, books: Books, seed: int) -> None:
        """Writers whose transactions overlap at random, and a cache that is filled and polls in between."""
        chance = random.Random(seed)
        cache: dict[str, int] = {}
        state = await books.state()
        async with AsyncExitStack() as stack:
            writers = [await stack.enter_async_context(books.connect()) for _ in range(4)]
            opened: list[Any] = [None] * len(writers)
            for _ in range(400):
                place = chance.randrange(len(writers))
                writer, transaction = writers[place], opened[place]
                # Each writer has keys of its own: none waits for another.
                key = 10 * place + chance.randrange(3)
                match chance.randrange(10):
                    case 0 | 1 if transaction is None:
                        opened[place] = writer.transaction()
                        await opened[place].start()
                    case 2 | 3 if transaction is not None:
                        await (transaction.rollback if chance.random() < 0.3 else transaction.commit)()
                        opened[place] = None
                    case 4:
                        await writer.execute("DELETE FROM books WHERE id = $1", key)
                    case 5 | 6:
                        await writer.execute(
                            "INSERT INTO books (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET title = 'U'", key
                        )
                    case 7:
                        cache |= await _versions(books)
                    case _:
                        state = await _follow(books, state, cache)
            for transaction in opened:
                if transaction is not None:
                    await transaction.commit()
        await _follow(books, state, cache)
        versions = await _versions(books)
        assert cache
        assert cache == {key: versions.get(key, 0) for key in cache}


async def _versions(books: Books) -> dict[str, int]:
    """What a cache is filled with: 0 where there is no row."""
    async with books.connect() as connection:
        rows = await connection.fetch("SELECT id, version FROM books")
    return dict.fromkeys((str(10 * place + i) for place in range(4) for i in range(3)), 0) | {
        str(row["id"]): row["version"] for row in rows
    }


async def _follow(books: Books, state: str, cache: dict[str, int]) -> str:
    look = await books.log.look(state)
    assert look.changes is not None
    for key, version in look.changes.items():
        if version is None or cache.get(key, version) < version:
            cache.pop(key, None)
    return look.state
