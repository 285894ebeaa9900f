"""When it cannot be told what changed, what pruning leaves, and what polling costs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event, text
from tests.library import Library, library_with_log, library_without_log
from tests.servers import Servers

from evenkeel.cache.change_log import MOST_CHANGES, remove

pytestmark = pytest.mark.anyio


@pytest.fixture
async def library(servers: Servers) -> AsyncIterator[Library]:
    async with library_with_log(servers.postgres) as library:
        yield library


@pytest.fixture
async def bare(servers: Servers) -> AsyncIterator[Library]:
    async with library_without_log(servers.postgres) as library:
        yield library


class TestWhenItCannotBeTold:
    async def test_without_a_state(self, library: Library) -> None:
        poll = await library.log.poll(None)
        assert (poll.changes, poll.reason) == (None, "there is no state")
        assert (await library.log.poll(poll.state)).changes == {}

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
    async def test_with_an_unreadable_state(self, library: Library, snapshot: str) -> None:
        origin = (await library.state()).partition(" ")[0]
        for state in (f"{origin} {snapshot}", snapshot):
            poll = await library.log.poll(state)
            assert (poll.changes, poll.reason) == (None, "the state cannot be read")
            with pytest.raises(ValueError, match="no state of a change log"):
                await library.log.prune(state)

    async def test_with_the_state_of_another_history(self, library: Library) -> None:
        origin, _, snapshot = (await library.state()).partition(" ")
        state = f"{origin[:-1]}{'01'[origin[-1] == '0']} {snapshot}"
        poll = await library.log.poll(state)
        assert (poll.changes, poll.reason) == (None, "the database has another history")
        assert await library.log.prune(state) == 0
        assert await library.value("SELECT count(*) FROM book_changes") == 1

    async def test_with_a_state_ahead_of_the_database(self, library: Library) -> None:
        origin = (await library.state()).partition(" ")[0]
        future = await library.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 5")
        poll = await library.log.poll(f"{origin} 3:{future}:")
        assert (poll.changes, poll.reason) == (None, "the state is ahead of the database")
        assert await library.log.prune(f"{origin} {future}:{future}:") == 0
        assert await library.value("SELECT count(*) FROM book_changes") == 1

    async def test_with_more_changes_than_the_limit(self, library: Library) -> None:
        state = await library.state()
        await library.execute("UPDATE books SET title = 'U'", "UPDATE books SET title = 'V' WHERE id = 1")
        assert (await library.log.poll(state, limit=4)).changes == {"1": 3, "2": 2, "3": 2}
        poll = await library.log.poll(state, limit=3)
        assert (poll.changes, poll.reason) == (None, "more than 3 changes")

    async def test_of_the_time_before_the_log(self, bare: Library) -> None:
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
            poll = await bare.log.poll(before)
            assert (poll.changes, poll.reason) == (None, "the database has another history")
            earlier = f"{poll.state.partition(' ')[0]} {before.partition(' ')[2]}"
            poll = await bare.log.poll(earlier)
            assert (poll.changes, poll.reason) == (None, "the log does not reach back to the state")
            assert await bare.changes(poll.state) == {}
            await elsewhere.execute("UPDATE books SET title = 'U'")
            await transaction.commit()
        assert await bare.changes(poll.state) == {"1": 2}

    async def test_a_log_that_came_with_a_dump(self, library: Library) -> None:
        """Its horizon and its rows bear ids of another server, here ones that will not come for long."""
        await library.execute(
            "UPDATE book_changes_horizon SET origin = '1-2-3', installed = '99999999999', pruned = '99999999999'",
            "UPDATE book_changes SET xid = '99999999999'",
        )
        state = await library.state()
        assert await library.changes(state) == {}
        await library.execute("DELETE FROM books WHERE id = 1")
        assert await library.changes(state) == {"1": None}
        later = await library.state()
        assert await library.log.prune(later) == 1
        assert await library.changes(later) == {}
        assert await library.changes(state) is None


class TestPrune:
    async def test_what_is_pruned_is_told(self, library: Library) -> None:
        states = [await library.state()]
        for _ in range(3):
            await library.execute("UPDATE books SET title = 'U' WHERE id = 1")
            states.append(await library.state())
        assert await library.log.prune(states[2]) == 3  # the fixture's rows, and two updates
        assert [await library.changes(state) for state in states] == [None, None, {"1": 4}, {}]
        poll = await library.log.poll(states[1])
        assert poll.reason == "the log does not reach back to the state"
        assert await library.log.prune(states[1]) == 0  # does not take the horizon back
        assert [await library.changes(state) for state in states] == [None, None, {"1": 4}, {}]
        assert await library.log.prune(states[3]) == 1
        assert await library.log.prune(states[3]) == 0

    async def test_what_is_still_open_is_not_pruned(self, library: Library) -> None:
        async with library.connect() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("UPDATE books SET title = 'U' WHERE id = 1")
            await library.execute("UPDATE books SET title = 'U' WHERE id = 2")
            state = await library.state()
            assert await library.log.prune(state) == 1
            await transaction.commit()
        assert await library.changes(state) == {"1": 2}

    async def test_by_several_at_once_and_in_batches(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evenkeel.cache.change_log.PRUNE_BATCH", 7)
        await library.execute(*["UPDATE books SET title = 'U' WHERE id = 1"] * 50)
        state = await library.state()
        deleted = await asyncio.gather(*(library.log.prune(state) for _ in range(4)))
        assert sum(deleted) == 51
        assert await library.value("SELECT count(*) FROM book_changes") == 0
        assert await library.changes(state) == {}

    async def test_a_horizon_that_was_deleted_is_made_again(self, library: Library) -> None:
        state = await library.state()
        await library.execute("DELETE FROM book_changes_horizon")
        assert await library.changes(state) is None
        await library.log.prune(await library.state())
        assert await library.changes(await library.state()) == {}


class TestCost:
    async def test_poll_is_one_round_trip_and_starts_no_transaction(self, library: Library) -> None:
        commands: list[str] = []
        statements: list[str] = []
        engine = library.engine.sync_engine

        @event.listens_for(engine, "checkout")
        def watch_connection(_: Any, record: Any, __: Any) -> None:
            record.driver_connection.add_query_logger(lambda logged: commands.append(logged.query))

        @event.listens_for(engine, "before_cursor_execute")
        def watch_engine(_: Any, __: Any, statement: str, *___: Any) -> None:
            statements.append(statement)

        state = await library.state()
        commands.clear()
        statements.clear()
        next_id = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
        before = await library.value(next_id)
        assert await library.changes(state) == {}
        assert await library.value(next_id) == before
        assert (commands, len(statements)) == ([], 1)
        async with library.engine.connect() as connection:  # what is watched is there to be seen
            await connection.execute(text("SELECT 1"))
        assert commands[0].startswith("BEGIN")

    @pytest.mark.parametrize("analyzed", [True, False])
    async def test_poll_reads_the_index_while_a_long_transaction_is_open(
        self, library: Library, *, analyzed: bool
    ) -> None:
        async with library.connect() as connection, connection.transaction():
            await connection.execute("UPDATE books SET title = 'U' WHERE id = 1")
            # The log of 200,000 statements, without the time that they take.
            async with library.connect() as filling:
                await filling.execute(
                    "DO $$ BEGIN FOR i IN 1..2000 LOOP INSERT INTO book_changes (book_id, version)"
                    " SELECT ARRAY[j], ARRAY[1] FROM generate_series(1, 100) AS j; COMMIT; END LOOP; END $$"
                )
                if analyzed:
                    await filling.execute("ANALYZE book_changes")
            state = await library.state()
            await library.execute("UPDATE books SET title = 'U' WHERE id = 2")
            assert (await library.log.poll(state)).changes == {"2": 2}
            plans = await _plans(library, state)
            assert "($2)::pg_snapshot" in plans[0]
            for plan in plans:
                assert "Seq Scan on book_changes " not in plan
                assert plan.count("Scan using book_changes_xid") + plan.count("Scan on book_changes_xid") == 2
                # Both together find one row, and need a handful of the log's thousands of pages for it.
                assert _pages(plan) < 50
            # Nothing is read for an answer that will be "anything".
            assert [_pages(plan) < 50 for plan in await _plans(library, "0-0-0-0 1:1:")] == [True, True]


async def _plans(library: Library, state: str) -> list[str]:
    """Of the poll with these parameters, and with any: PostgreSQL may choose either for a prepared statement."""
    origin, _, snapshot = state.partition(" ")
    statement = library.log._poll.compile(dialect=library.engine.dialect)
    plans = []
    async with library.connect() as connection:
        await connection.execute(f"PREPARE poll (text, text, bigint) AS {statement}")
        execute = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) EXECUTE poll ('{origin}', '{snapshot}', {MOST_CHANGES})"
        for mode in ("force_generic_plan", "force_custom_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            plans.append("\n".join(row[0] for row in await connection.fetch(execute)))
    return plans


def _pages(plan: str) -> int:
    """How many pages the whole statement touched."""
    line = next(line for line in plan.splitlines() if "Buffers:" in line)
    return sum(int(part.partition("=")[2]) for part in line.split() if part.startswith(("hit=", "read=")))
