"""What happens to the table itself: its rows change, or may change, without a trigger that would tell."""

import itertools
from collections.abc import AsyncIterator

import pytest
from tests.support.books_database import Books, books_with_log
from tests.support.servers import Servers
from tests.support.witness import eventually

from evenkeel.cache import change_log
from evenkeel.cache.change_log import Look
from evenkeel.cache.change_log_schema import HAD_CHILD

pytestmark = pytest.mark.anyio

REWRITTEN = "the table was rewritten or emptied"
COLUMNS = "the table's columns or its name were altered"
TRIGGERS = "the triggers were altered"

OFF = "the trigger book_changes_{} is off, missing or not ours"

TRUNCATE_AGAIN = """
    CREATE OR REPLACE TRIGGER book_changes_truncate AFTER TRUNCATE ON books
    EXECUTE FUNCTION book_changes_by_statement();
    ALTER TABLE books ENABLE ALWAYS TRIGGER book_changes_truncate
"""
OTHER_FUNCTION = """
    CREATE OR REPLACE TRIGGER book_changes_truncate AFTER TRUNCATE ON books
    EXECUTE FUNCTION suppress_redundant_updates_trigger()
"""
SILENT_BUMP = """
    CREATE OR REPLACE FUNCTION book_changes_bump() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'
"""
ALL_AGAIN = """
    ALTER TABLE books ENABLE TRIGGER ALL;
    ALTER TABLE books ENABLE ALWAYS TRIGGER book_changes_bump, ENABLE ALWAYS TRIGGER book_changes_truncate,
    ENABLE REPLICA TRIGGER book_changes_row
"""
SWAPPED = "ALTER TABLE books RENAME TO old; CREATE TABLE books (LIKE old)"
SWAPPED_BACK = "DROP TABLE books; ALTER TABLE old RENAME TO books"


@pytest.fixture
async def books(servers: Servers) -> AsyncIterator[Books]:
    async with books_with_log(servers.postgres) as books:
        await books.execute("CREATE TABLE works (id bigint NOT NULL, title text)")
        yield books


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["ALTER TABLE books ALTER title TYPE text USING upper(title)"], REWRITTEN),
        (["ALTER TABLE books RENAME title TO name"], COLUMNS),
        (["ALTER TABLE books RENAME title TO t", "ALTER TABLE books RENAME t TO title"], COLUMNS),
        (["ALTER TABLE books ADD pages integer DEFAULT 100"], COLUMNS),
        (["ALTER TABLE books DROP title"], COLUMNS),
        (["ALTER TABLE books RENAME TO b", "ALTER TABLE b RENAME TO books"], COLUMNS),
        (["TRUNCATE books"], REWRITTEN),
        (
            [
                "ALTER TABLE books DISABLE TRIGGER book_changes_update",
                "UPDATE books SET title = 'U'",
                "ALTER TABLE books ENABLE TRIGGER book_changes_update",
            ],
            TRIGGERS,
        ),
        (
            [
                "ALTER TABLE books INHERIT works",
                "UPDATE works SET title = 'U'",
                "ALTER TABLE books NO INHERIT works",
            ],
            COLUMNS,
        ),
        (
            [SILENT_BUMP],
            TRIGGERS,
        ),
        (["TRUNCATE book_changes"], "the log was rewritten"),
    ],
)
async def test_what_no_trigger_tells_is_a_change_of_anything_once(
    books: Books, statements: list[str], reason: str
) -> None:
    state = await books.state()
    await books.execute(*statements)
    look = await books.log.look(state)
    assert (look.changes, look.reason, look.distrust) == (None, reason, None)
    await books.execute("DELETE FROM books WHERE id = 1")
    assert await books.changes(look.state) in ({"1": None}, {})


async def test_so_is_vacuum_full(books: Books) -> None:
    state = await books.state()
    async with books.connect() as connection:
        await connection.execute("VACUUM FULL books")
    look = await books.log.look(state)
    assert (look.changes, look.reason) == (None, REWRITTEN)
    assert await books.changes(look.state) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "ANALYZE books",
        "VACUUM books",
        "VACUUM (FREEZE) pg_trigger, pg_attribute, pg_type, pg_proc, pg_class",
        "VACUUM FULL pg_trigger",
        "VACUUM FULL pg_attribute",
        "CREATE INDEX ON books (title)",
        "CREATE INDEX CONCURRENTLY ON books (title)",
        "REINDEX TABLE books",
        "GRANT SELECT ON books TO PUBLIC",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC",
        "COMMENT ON TABLE books IS 'All of them'",
        "ALTER TABLE books SET (fillfactor = 80)",
        "CREATE TABLE shelves (book bigint REFERENCES books)",
        "CREATE TRIGGER other AFTER UPDATE ON books FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE VIEW titles AS SELECT title FROM books",
        "CREATE PUBLICATION books FOR TABLE books",
        "ANALYZE book_changes",
        "VACUUM book_changes",
    ],
)
async def test_what_changes_no_row_is_none(books: Books, statement: str) -> None:
    state = await books.state()
    async with books.connect() as connection:
        await connection.execute(statement)
    look = await books.log.look(state)
    assert (look.changes, look.reason) == ({}, None)


@pytest.mark.parametrize(
    ("begin", "end", "why"),
    [
        *(
            (f"ALTER TABLE books DISABLE TRIGGER {what}", f"ALTER TABLE books ENABLE {how} TRIGGER {what}", OFF)
            for what, how in (
                ("book_changes_bump", "ALWAYS"),
                ("book_changes_insert", ""),
                ("book_changes_update", ""),
                ("book_changes_delete", ""),
                ("book_changes_truncate", "ALWAYS"),
                ("book_changes_row", "REPLICA"),
            )
        ),
        (
            "ALTER TABLE books ENABLE REPLICA TRIGGER book_changes_update",
            "ALTER TABLE books ENABLE TRIGGER book_changes_update",
            OFF,
        ),
        ("DROP TRIGGER book_changes_truncate ON books", TRUNCATE_AGAIN, OFF),
        (OTHER_FUNCTION, TRUNCATE_AGAIN, OFF),
        (
            "ALTER TABLE books INHERIT works",
            "ALTER TABLE books NO INHERIT works",
            "it has a parent or a child",
        ),
        (
            "CREATE TABLE novels () INHERITS (books)",
            "DROP TABLE novels",
            "it has a parent or a child",
        ),
        (
            "CREATE TABLE parts (LIKE books) PARTITION BY RANGE (id); ALTER TABLE parts ATTACH PARTITION books DEFAULT",
            "ALTER TABLE parts DETACH PARTITION books",
            "it has a parent or a child",
        ),
        (
            "ALTER TABLE books RENAME TO old; CREATE TABLE books (LIKE old INCLUDING ALL)",
            "DROP TABLE books; ALTER TABLE old RENAME TO books",
            OFF,
        ),
        (
            "ALTER TABLE books RENAME TO old; CREATE VIEW books AS SELECT * FROM old",
            "DROP VIEW books; ALTER TABLE old RENAME TO books",
            "it is no ordinary table",
        ),
        ("ALTER TABLE books RENAME TO old", "ALTER TABLE old RENAME TO books", "it does not exist"),
        # Which of two tables is meant is up to the reader's search path.
        (
            "CREATE SCHEMA AUTHORIZATION CURRENT_USER CREATE TABLE books (LIKE public.books)",
            "DO $$ BEGIN EXECUTE format('DROP SCHEMA %I CASCADE', current_user); END $$",
            OFF,
        ),
    ],
)
async def test_while_changes_go_unseen_nothing_is_trusted(books: Books, begin: str, end: str, why: str) -> None:
    before = await books.state()
    await books.execute(begin)
    trigger = begin.rpartition("TRIGGER book_changes_")[2] if " DISABLE " in begin else None
    state = before
    for _ in range(2):
        look = await books.log.look(state)
        assert look.changes is None
        assert look.distrust is not None
        assert look.distrust == look.reason
        expected = why.format(trigger) if trigger else why.partition("{}")[0]
        assert look.distrust.startswith(f"changes of books may go unseen: {expected}")
        state = look.state
    await books.execute(end)
    look = await _trusted(books, state)
    assert (look.changes, look.reason, look.distrust) == (None, "changes may have gone unseen before", None)
    await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
    assert await books.changes(look.state) == {"1": 2}


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (SWAPPED, SWAPPED_BACK),
        ("ALTER TABLE books DISABLE TRIGGER ALL", ALL_AGAIN),
        ("CREATE TABLE novels () INHERITS (books)", "DROP TABLE novels"),
        ("ALTER TABLE books INHERIT works", "ALTER TABLE books NO INHERIT works"),
    ],
)
async def test_what_was_over_before_anybody_looked_is_seen_too(books: Books, begin: str, end: str) -> None:
    before = await books.state()
    await books.execute(begin)
    await books.execute(end)
    look = await _trusted(books, before)
    assert look.changes is None
    assert look.distrust is None
    assert await books.changes(look.state) == {}


async def test_every_child_is_seen_not_only_the_first(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL leaves the mark of a parent when the child goes: the next one changes nothing in the catalog."""
    monkeypatch.setattr(change_log, "ANALYZE_INTERVAL", 3600)  # that the last call has helped counts, not when it was
    for _ in range(3):
        before = await books.state()
        for statement in ("CREATE TABLE novels () INHERITS (books)", "INSERT INTO novels (id) VALUES (9)"):
            await books.execute(statement)
        await books.execute("DROP TABLE novels")
        look = await books.log.look(before)
        assert look.changes is None
        look = await _trusted(books, look.state)
        assert await books.changes(look.state) == {}


async def test_a_child_that_has_gone_is_seen_by_whoever_looks_later(books: Books) -> None:
    """Caches of other Redis servers follow the same log. The mark is gone when they look; so they find it there."""
    before = await books.state()
    await books.execute("CREATE TABLE novels () INHERITS (books)")
    await books.execute("DROP TABLE novels")
    await _trusted(books, before)
    look = await books.log.look(before)
    assert (look.changes, look.reason) == (None, "the whole table may have changed")


async def test_the_mark_of_a_child_is_removed_once_and_not_under_a_child(books: Books) -> None:
    state = await books.state()
    await books.execute("SELECT book_changes_analyze()")
    assert await books.changes(state) == {}
    await books.execute("CREATE TABLE novels () INHERITS (books)")
    await books.execute("SELECT book_changes_analyze()")
    assert await books.value("SELECT count(*) FROM book_changes") == 1
    await books.execute("DROP TABLE novels")
    for _ in range(2):
        await books.execute("SELECT book_changes_analyze()")
        assert await books.value("SELECT count(*) FROM book_changes") == 2


async def test_the_mark_is_removed_for_roles_without_rights(books: Books) -> None:
    await books.execute("CREATE TABLE novels () INHERITS (books)", "CREATE ROLE reader LOGIN PASSWORD 'reader'")
    await books.execute("DROP TABLE novels")
    try:
        async with books.connect(user="reader", password="reader") as reader:
            await reader.execute("SELECT public.book_changes_analyze()")
        assert await books.value("SELECT relhassubclass FROM pg_class WHERE relname = 'books'") is False
    finally:
        await books.execute("DROP ROLE reader")


async def test_a_mark_that_cannot_be_removed_is_told_and_tried_again(
    books: Books, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(change_log, "ANALYZE_INTERVAL", 0)
    state = await books.state()
    await books.execute("CREATE TABLE novels () INHERITS (books)")
    await books.execute("DROP TABLE novels", "ALTER FUNCTION book_changes_analyze RENAME TO away")

    async def told() -> bool:
        look = await books.log.look(state)
        assert look.distrust == "changes of books may go unseen: it had a child, and has not been analyzed since"
        return any(record.message == "the table had a child, and cannot be analyzed" for record in caplog.records)

    await eventually(told)
    await books.execute("ALTER FUNCTION away RENAME TO book_changes_analyze")
    await _trusted(books, state)


async def test_a_table_that_takes_the_name_with_triggers_of_its_own(books: Books) -> None:
    """As a blue-green migration does it: the log is removed, and installed on the other table, in one transaction."""
    states = itertools.repeat(await books.state(), 2)
    await books.execute("ALTER TABLE books RENAME TO old", "CREATE TABLE books (LIKE old INCLUDING ALL)")
    await books.execute("DROP TABLE old, book_changes, book_changes_horizon")
    await books.execute(
        "DROP FUNCTION book_changes_look, book_changes_prune, book_changes_analyze, book_changes_bump,"
        " book_changes_by_row, book_changes_by_statement"
    )
    await books.install()
    for state in states:
        look = await books.log.look(state)
        assert (look.changes, look.distrust) == (None, None)


async def test_an_open_transaction_has_changed_nothing_yet(books: Books) -> None:
    state = await books.state()
    async with books.connect() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("ALTER TABLE books DISABLE TRIGGER ALL")
        assert await books.changes(state) == {}
        await transaction.rollback()
    assert await books.changes(state) == {}


async def _trusted(books: Books, state: str) -> Look:
    """The first look from there that ends a doubt; where a child was, it takes more than one."""
    looks: list[Look] = []

    async def looked() -> bool:
        looks.append(await books.log.look(state))
        return HAD_CHILD not in (looks[-1].distrust or "")

    await eventually(looked)
    return looks[-1]
