"""What is pruned, when, by whom, and what a reader is told of it."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from tests.support.books_database import Books

from evenkeel.cache import Memory, Metrics, open_cache
from evenkeel.cache.entry import Entry
from evenkeel.cache.pruning import Pruner

pytestmark = pytest.mark.anyio

TOO_OLD = "the log does not reach back to the state"
LOGGED = "SELECT count(*) FROM book_changes"


async def age(books: Books, seconds: float) -> None:
    """As if all that is remembered were so much older."""
    older = """
        UPDATE book_changes_horizon
        SET marked = ARRAY(SELECT at - make_interval(secs => $1) FROM unnest(marked) AS at)
    """
    await books.execute((older, seconds))


class TestWhat:
    async def test_what_is_pruned_is_told(self, books: Books) -> None:
        states = [await books.state()]
        for _ in range(3):
            await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
            states.append(await books.state())
        assert await books.log.prune(retention=0) == 4  # the fixture's rows, and three updates
        assert [await books.changes(state) for state in states] == [None, None, None, {}]
        assert (await books.log.look(states[1])).reason == TOO_OLD
        await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
        assert await books.changes(states[3]) == {"1": 5}
        assert await books.log.prune(retention=0) == 1
        assert await books.log.prune(retention=0) == 0

    async def test_nothing_is_until_it_is_old_enough(self, books: Books) -> None:
        state = await books.state()
        await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
        assert await books.log.prune(retention=600) == 0
        await age(books, 300)
        await books.execute("UPDATE books SET title = 'U' WHERE id = 2")
        middle = await books.state()
        assert await books.log.prune(retention=600) == 0
        await age(books, 301)
        assert await books.log.prune(retention=600) == 2
        assert await books.changes(state) is None
        assert await books.value(LOGGED) == 1
        assert await books.changes(middle) == {}
        await age(books, 301)
        assert await books.log.prune(retention=600) == 1
        assert await books.changes(middle) == {}

    async def test_one_open_transaction_stops_nothing(self, books: Books) -> None:
        async with books.connect() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("UPDATE books SET title = 'U' WHERE id = 1")
            for expected in (2, 1, 1):
                await books.execute("UPDATE books SET title = 'U' WHERE id = 2")
                assert await books.log.prune(retention=0) == expected
            state = await books.state()
            await transaction.commit()
        assert await books.changes(state) == {"1": 2}
        assert await books.log.prune(retention=0) == 1
        assert await books.changes(state) is None
        assert await books.value(LOGGED) == 0

    async def test_what_an_older_state_lacks_is_told_though_a_transaction_is_open(self, books: Books) -> None:
        async with books.connect() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("UPDATE books SET title = 'U' WHERE id = 1")
            state = await books.state()
            await books.execute("UPDATE books SET title = 'U' WHERE id = 2")
            await books.log.prune(retention=0)
            assert (await books.log.look(state)).reason == TOO_OLD
            await transaction.rollback()

    async def test_a_clock_that_was_set_back_keeps_longer(self, books: Books) -> None:
        await books.log.prune(retention=600)
        await age(books, -7200)
        assert await books.log.prune(retention=600) == 0
        await age(books, 601)
        assert await books.log.prune(retention=600) == 1

    async def test_a_log_that_came_with_a_dump(self, books: Books) -> None:
        """Its horizon and its rows bear ids of another server, here ones that will not come for long."""
        await books.execute(
            "UPDATE book_changes_horizon SET origin = '1-2-3', pruned = '99999999999:99999999999:',"
            " cleared = '99999999999:99999999999:', marks = '{99999999999:99999999999:}', marked = '{yesterday}',"
            " at_xid = '99999999999', at_place = 7",
            "UPDATE book_changes SET xid = '99999999999'",
        )
        state = await books.state()
        assert await books.changes(state) == {}
        await books.execute("DELETE FROM books WHERE id = 1")
        assert await books.changes(state) == {"1": None}
        assert await books.log.prune(retention=600) == 1
        assert await books.changes(state) == {"1": None}
        await age(books, 601)
        later = await books.state()
        assert await books.log.prune(retention=600) == 1
        assert await books.changes(later) == {}
        assert await books.changes(state) is None

    async def test_a_horizon_that_was_deleted_is_made_again(self, books: Books) -> None:
        state = await books.state()
        await books.execute("DELETE FROM book_changes_horizon")
        assert await books.changes(state) is None
        await books.log.prune(retention=600)
        assert await books.changes(await books.state()) == {}


class TestInBatches:
    async def test_by_several_at_once(self, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evenkeel.cache.change_log.PRUNE_BATCH", 7)
        await books.execute(*["UPDATE books SET title = 'U' WHERE id = 1"] * 50)
        deleted = await asyncio.gather(*(books.log.prune(retention=0) for _ in range(4)))
        deleted.append(await books.log.prune(retention=0))
        assert sum(deleted) == 51
        assert await books.value(LOGGED) == 0
        assert await books.changes(await books.state()) == {}

    async def test_one_that_died_in_between_is_followed_by_another(self, books: Books) -> None:
        old = await books.state()
        await books.execute(*["UPDATE books SET title = 'U' WHERE id = 1"] * 20)
        for _ in range(20):
            await books.execute("UPDATE books SET title = 'U' WHERE id = 2")
        state = await books.state()
        # Batches of a pruner that has come no further than these.
        assert await books.value("SELECT deleted FROM book_changes_prune(0, 15)") == 15
        assert await books.value("SELECT deleted FROM book_changes_prune(0, 15)") == 15
        assert await books.changes(old) is None
        await books.execute("UPDATE books SET title = 'U' WHERE id = 3")
        assert await books.log.prune(retention=600) == 11
        assert await books.value(LOGGED) == 1
        assert await books.changes(state) == {"3": 2}

    async def test_what_has_been_deleted_is_not_passed_again(self, books: Books) -> None:
        """A snapshot that somebody holds keeps VACUUM from removing what has been deleted."""
        async with books.connect() as holding:
            transaction = holding.transaction(isolation="repeatable_read")
            await transaction.start()
            await holding.execute(f"{LOGGED}")
            await books.execute(
                "INSERT INTO book_changes (book_id) SELECT ARRAY[i] FROM generate_series(1, 30000) AS i"
            )
            read = []
            for _ in range(30):
                before = await books.value(ENTRIES_READ)
                assert await books.value("SELECT deleted FROM book_changes_prune(0, 1000)") == 1000
                read.append(await books.value(ENTRIES_READ) - before)
            assert max(read) < 2000
            state = await books.state()
            await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
            before = await books.value(ENTRIES_READ)
            assert await books.changes(state) == {"1": 2}
            assert await books.value(ENTRIES_READ) - before < 100
            await transaction.rollback()


# Entries of the log's index, the dead ones too.
ENTRIES_READ = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'book_changes_xid'"


class TestByWhom:
    @pytest.mark.parametrize("tiers", ["memory", "none"])
    async def test_whatever_the_tiers(self, books: Books, monkeypatch: pytest.MonkeyPatch, tiers: str) -> None:
        monkeypatch.setattr("evenkeel.cache.pruning.INTERVAL", 0.05)
        memory = Memory(prepare=lambda entry: entry) if tiers == "memory" else None
        metrics = Metrics(CollectorRegistry())
        async with open_cache("book", load=_load, changes=books.log, memory=memory, log_retention=0, metrics=metrics):
            await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
            while await books.value(LOGGED):  # noqa: ASYNC110 (there is no event)
                await asyncio.sleep(0.05)

    async def test_pruners_that_come_and_go_forget_nothing(self, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
        """None lives as long as the log is kept."""
        await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
        while await books.value(LOGGED):
            monkeypatch.setattr("evenkeel.cache.pruning.INTERVAL", 0.05)
            pruner = asyncio.create_task(Pruner(books.log, retention=600).run())
            await asyncio.sleep(0)
            # It prunes once, so that it is not ended while it connects: asyncpg would complain.
            monkeypatch.setattr("evenkeel.cache.pruning.INTERVAL", 1000)
            marks = "SELECT marked FROM book_changes_horizon"
            while not (await books.value(marks) or not await books.value(LOGGED)):  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.1)
            pruner.cancel()
            await asyncio.wait({pruner})
            await age(books, 200)

    async def test_survives_what_the_database_answers(self, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("evenkeel.cache.pruning.INTERVAL", 0.05)
        await books.execute("ALTER TABLE book_changes_horizon RENAME TO hidden")
        pruner = asyncio.create_task(Pruner(books.log, retention=0).run())
        await asyncio.sleep(0.3)
        await books.execute("ALTER TABLE hidden RENAME TO book_changes_horizon")
        while await books.value(LOGGED):  # noqa: ASYNC110 (there is no event)
            await asyncio.sleep(0.05)
        pruner.cancel()
        await asyncio.wait({pruner})


async def _load(_: object) -> dict[str, Entry]:
    return {}
