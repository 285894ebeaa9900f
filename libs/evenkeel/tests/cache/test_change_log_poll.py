"""When it cannot be told what changed, how far one look goes, and what it costs."""

import contextlib
import json
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from tests.support.books_database import Books, leave
from tests.support.proxy import proxied
from tests.support.wire import round_trips

from evenkeel.cache.change_log import ChangeLog, Look
from evenkeel.cache.change_log_schema import MOST_CHANGES, remove
from stack.layout import free_port

pytestmark = pytest.mark.anyio


class TestWhenItCannotBeTold:
    async def test_without_a_state(self, books: Books) -> None:
        look = await books.log.look(None)
        assert (look.changes, look.reason) == (None, "there is no state")
        assert (await books.log.look(look.state)).changes == {}

    @pytest.mark.parametrize(
        "snapshot",
        [
            "",
            "1",
            "5:4:",
            "0:4:",
            "1:9:9",
            "3:9:2",
            "1:9:4,3",
            "1:9:,",
            "1:9:4,",
            "1:9: ",
            "-1:9:",
            "1:9:٤",
            "1:9:\x00",
            "1:99999999999999999999:",
        ],
    )
    async def test_with_an_unreadable_state(self, books: Books, snapshot: str) -> None:
        origin, _, table = (await books.state()).split(" ")
        for state in (f"{origin} {snapshot} {table}", f"{origin} {snapshot}", snapshot):
            look = await books.log.look(state)
            assert (look.changes, look.reason) == (None, "the state cannot be read")

    async def test_with_the_state_of_another_history(self, books: Books) -> None:
        origin, _, snapshot = (await books.state()).partition(" ")
        state = f"{origin[:-1]}{'01'[origin[-1] == '0']} {snapshot}"
        look = await books.log.look(state)
        assert (look.changes, look.reason) == (None, "the database has another history")

    async def test_with_a_state_ahead_of_the_database(self, books: Books) -> None:
        origin, _, table = (await books.state()).split(" ")
        future = await books.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 5")
        look = await books.log.look(f"{origin} 3:{future}: {table}")
        assert (look.changes, look.reason) == (None, "the state is ahead of the database")

    async def test_with_more_changes_than_the_limit(self, books: Books) -> None:
        state = await books.state()
        await books.execute("UPDATE books SET title = 'U'", "UPDATE books SET title = 'V' WHERE id = 1")
        assert (await books.log.look(state, limit=4)).changes == {"1": 3, "2": 2, "3": 2}
        look = await books.log.look(state, limit=3)
        assert (look.changes, look.reason) == (None, "more than 3 changes")

    async def test_of_the_time_before_the_log(self, bare: Books) -> None:
        await bare.install()
        before = await bare.state()
        await bare.execute(*remove(table="books", log="book_changes"))
        await bare.execute("INSERT INTO books (id) VALUES (1)")
        async with bare.connect() as elsewhere:
            # An older transaction, which has nothing to do with the table yet.
            transaction = elsewhere.transaction()
            await transaction.start()
            await elsewhere.execute("SELECT pg_current_xact_id()")
            await bare.install()
            look = await bare.log.look(before)
            assert (look.changes, look.reason) == (None, "the database has another history")
            origin, _, table = look.state.split(" ")
            earlier = f"{origin} {before.split(' ')[1]} {table}"
            look = await bare.log.look(earlier)
            assert (look.changes, look.reason) == (None, "the log does not reach back to the state")
            assert await bare.changes(look.state) == {}
            await elsewhere.execute("UPDATE books SET title = 'U'")
            await transaction.commit()
        assert await bare.changes(look.state) == {"1": 2}

    async def test_after_the_identity(self, books: Books) -> None:
        look = await books.log.look(None)
        assert look.identity == await books.log.identity()
        assert (await books.log.look(look.state)).identity == look.identity
        await books.execute(*remove(table="books", log="book_changes"))
        await books.install()
        assert (await books.log.look(look.state)).identity == await books.log.identity() != look.identity


class TestHowFar:
    async def test_a_look_goes_through_so_many_transactions_at_most(
        self, books: Books, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("evenkeel.cache.change_log.MOST_TRANSACTIONS", 5)
        async with books.connect() as first, books.connect() as second:
            state = await books.state()
            opened = [connection.transaction() for connection in (first, second)]
            await opened[0].start()
            await first.execute("UPDATE books SET title = 'U' WHERE id = 3")
            for _ in range(7):
                await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
            await opened[1].start()
            await second.execute("INSERT INTO books (id) VALUES (9)")
            for _ in range(7):
                await books.execute("UPDATE books SET title = 'U' WHERE id = 2")
            looks = [await books.log.look(state)]
            while looks[-1].more:
                looks.append(await books.log.look(looks[-1].state))
            told = [look.changes or {} for look in looks]
            assert [sorted(found.items()) for found in told[:2]] == [[("1", 5)], [("1", 8), ("2", 2)]]
            assert told[-1] == {"2": 8}
            await opened[0].commit()
            await opened[1].commit()
        for look in looks:
            changes: dict[str, int | None] = {}
            state = look.state
            while True:
                further = await books.log.look(state)
                assert further.changes is not None
                changes |= further.changes
                state = further.state
                if not further.more:
                    break
            assert {"3": 2, "9": 1}.items() <= changes.items()
            assert changes.keys() <= {"1", "2", "3", "9"}

    async def test_beyond_what_can_be_told_one_look_begins_anew(
        self, books: Books, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("evenkeel.cache.change_log.MOST_TRANSACTIONS", 5)
        state = await books.state()
        await books.execute("DELETE FROM books")
        for _ in range(10):
            await books.execute("INSERT INTO books VALUES (1) ON CONFLICT (id) DO UPDATE SET title = NULL")
        look = await books.log.look(state, limit=2)
        assert (look.changes, look.more, look.reason) == (None, False, "more than 2 changes")
        assert await books.changes(look.state) == {}


class TestTime:
    async def test_two_looks_that_take_too_long_are_followed_by_one_that_reads_nothing(self, books: Books) -> None:
        log = ChangeLog(books.pool, table="books", log="book_changes", time_limit=0.5)
        await log.identity()  # connects
        state = await books.state()
        await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
        assert (await _looked(log, state)).changes == {"1": 2}
        async with books.connect() as locking, locking.transaction():
            await locking.execute("LOCK TABLE book_changes")
            reasons = []
            for _ in range(50):
                with contextlib.suppress(TimeoutError):
                    reasons.append((await log.look(state)).reason)
                    break
            assert reasons == ["2 looks in a row took longer than 0.5 s"]
        assert (await _looked(log, state)).changes == {"1": 2}

    async def test_when_postgresql_does_not_answer_at_all_nothing_is_assumed(
        self, books: Books, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = ChangeLog(books.pool, table="books", log="book_changes", time_limit=0.2)
        state = await books.state()
        async with books.connect() as locking, locking.transaction():
            await locking.execute("LOCK TABLE book_changes")
            monkeypatch.setattr("evenkeel.cache.change_log._TRIVIAL", "SELECT pg_sleep(20)")
            for _ in range(4):
                with pytest.raises(TimeoutError):
                    await log.look(state)
        assert (await _looked(log, state)).changes == {}


async def _looked(log: ChangeLog, state: str) -> Look:
    """However slow the machine is."""
    while True:
        with contextlib.suppress(TimeoutError):
            return await log.look(state)


async def test_with_an_engine_of_sqlalchemy(books: Books) -> None:
    """It has the same answers, and no transaction stays open."""
    engine = create_async_engine(books.url.replace("postgresql:", "postgresql+asyncpg:", 1))
    try:
        log = ChangeLog(engine, table="books", log="book_changes", time_limit=60)
        assert await log.identity() == await books.log.identity()
        state = (await log.look(None)).state
        await books.execute("DELETE FROM books WHERE id = 1", "UPDATE books SET title = 'U' WHERE id = 2")
        assert (await log.look(state)).changes == {"1": None, "2": 2}
        open_ones = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        assert await books.value(open_ones) == 0
        async with books.connect() as locking, locking.transaction():
            await locking.execute("LOCK TABLE book_changes")
            hurried = ChangeLog(engine, table="books", log="book_changes", time_limit=0.2)
            with pytest.raises(TimeoutError):
                await hurried.look(state)
        assert (await log.look(state)).changes == {"1": None, "2": 2}
        assert await log.prune(retention=0) == 3
    finally:
        await engine.dispose()


class TestCost:
    async def test_poll_is_one_round_trip_and_starts_no_transaction(self, books: Books) -> None:
        next_id = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
        async with proxied(books.url, free_port()) as wire:
            await wire.open()
            async with asyncpg.create_pool(wire.url, min_size=0, reset=leave) as pool:
                log = ChangeLog(pool, table="books", log="book_changes", time_limit=60)
                state = (await log.look(None)).state
                before, sent = await books.value(next_id), round_trips(wire)
                assert (await log.look(state)).changes == {}
                assert round_trips(wire) - sent == 1
                assert await books.value(next_id) == before

    @pytest.mark.parametrize("statistics", ["true", "none", "of an empty log"])
    async def test_look_reads_nothing_of_transactions_that_are_open_or_rolled_back(
        self, books: Books, statistics: str
    ) -> None:
        rows = (
            "INSERT INTO book_changes (book_id, version) SELECT ARRAY[i], ARRAY[1] FROM generate_series(1, 100000) AS i"
        )
        if statistics == "of an empty log":
            await books.execute("DELETE FROM book_changes", "ANALYZE book_changes")
        async with books.connect() as filling, books.connect() as connection:
            transaction = connection.transaction()
            state = await books.state()
            await transaction.start()
            await connection.execute(rows)
            await books.execute("UPDATE books SET title = 'U' WHERE id = 2")
            if statistics == "true":
                await filling.execute("ANALYZE book_changes")
            assert await _pages(books, state) < 100
            look = await books.log.look(state)
            assert look.changes == {"2": 2}
            await books.execute("UPDATE books SET title = 'U' WHERE id = 3")
            assert await _pages(books, look.state) < 100
            await transaction.rollback()
            assert await _pages(books, look.state) < 100
            assert await books.changes(look.state) == {"3": 2}
            # What is committed is read, but no more of it than is of use.
            state = await books.state()
            await filling.execute(rows)
            assert await _pages(books, state, limit=100) < 200
            # And of a log that has been read, nothing.
            assert await _pages(books, await books.state()) < 100

    async def test_work_grows_no_faster_than_the_changes_of_a_statement(self, books: Books) -> None:
        """Reading a long array for each of its elements shows in nothing but the time: pages are cached."""
        seconds = []
        for count in (MOST_CHANGES // 10, MOST_CHANGES):
            state = await books.state()
            await books.execute(("INSERT INTO books (id) SELECT $1 + i FROM generate_series(1, $1) AS i", count))
            assert len(await books.changes(state) or ()) == count
            seconds.append(min([await _seconds(books, state) for _ in range(5)]))
        assert seconds[1] < 40 * seconds[0]  # 10 times as many; quadratic would be 100


async def _explained(books: Books, state: str, limit: int = MOST_CHANGES) -> dict[str, Any]:
    origin, snapshot, table = state.split(" ")
    async with books.connect() as connection:
        await connection.fetch("SELECT 1")
        call = f"book_changes_look('books'::regclass, '{origin}', '{snapshot}', '{table}', {limit}, 20000)"
        await connection.fetch(f"SELECT FROM {call}")  # has the catalog read before
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) SELECT * FROM {call}"  # noqa: S608 (our own)
        (plan,) = json.loads(await connection.fetchval(explain))
    return dict(plan)


async def _pages(books: Books, state: str, limit: int = MOST_CHANGES) -> int:
    """How many pages the whole look touched."""
    plan = (await _explained(books, state, limit))["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _seconds(books: Books, state: str) -> float:
    return float((await _explained(books, state))["Execution Time"]) / 1000
