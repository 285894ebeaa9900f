"""SQL of the caller's, on PostgreSQL."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.support import fake_http

from stack.errors import StackError, UsageError
from verify.cache.any_service.prober import Requests, ServiceProber, Way
from verify.cache.any_service.records import Records
from verify.cache.any_service.sql import Database, Statement
from verify.cache.any_service.templates import Template, ValuePath
from verify.cache.tally import CacheTally
from verify.target import Target

pytestmark = pytest.mark.anyio

UPDATE = "UPDATE users SET name = {value} WHERE id = {id}"
SELECT = "SELECT name FROM users WHERE id = {id}"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO users (email, name) VALUES ('ada@example.com', 'Ada')")
    await connection.close()
    async with Database(database_url, UPDATE, SELECT) as database:
        yield database


async def test_changes_and_looks(database: Database) -> None:
    assert await database.value("1") == "Ada"
    assert await database.change("1", "Ada's new name") == 1
    assert await database.value("1") == "Ada's new name"
    assert await database.change("2", "Nobody") == 0
    with pytest.raises(LookupError):
        await database.value("2")
    with pytest.raises(UsageError, match=r"--sql: {id} is a whole number there, not 'x'"):
        database.check({"1": "Ada", "x": "Grace"})


@pytest.mark.parametrize("old", ["41", None])
async def test_a_column_that_takes_no_text(database_url: str, old: str | None) -> None:
    """The service answers a number as text, or null. The values that are written would be text, too."""
    async with Database(database_url, "UPDATE users SET version = {value} WHERE id = {id}", None) as numbers:
        numbers.check({"1": 41})
        with pytest.raises(UsageError, match=r"--sql: {value} is a whole number there, not 'verify'"):
            numbers.check({"1": old})


async def test_a_procedure_changes_the_record(database: Database, database_url: str) -> None:
    """PostgreSQL does not say how many rows that concerned."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "CREATE PROCEDURE rename(who bigint, new text) LANGUAGE sql AS 'UPDATE users SET name = new WHERE id = who'"
    )
    await connection.close()
    async with Database(database_url, "CALL rename({id}, {value})", None) as called:
        assert await called.change("1", "Countess") == 1
    assert await database.value("1") == "Countess"


@pytest.mark.parametrize("update", ["UPDATE nothing SET name = {value} WHERE id = {id}", "UPDATE"])
async def test_postgresql_refuses_a_statement(database_url: str, update: str) -> None:
    with pytest.raises(UsageError, match="--sql: "):
        async with Database(database_url, update, SELECT):
            pass


async def test_no_database() -> None:
    with pytest.raises(StackError, match="--sql: PostgreSQL: "):
        async with Database("postgresql://nobody@127.0.0.1:1/none", UPDATE, None):
            pass
    with pytest.raises(UsageError, match="--sql: the database must be given as postgresql://"):
        Database("mysql://x", UPDATE, None)


@pytest.mark.parametrize("text", ["UPDATE users SET name = {value}", "DELETE FROM users WHERE id = {id}", "{value}"])
def test_a_statement_has_both_names(text: str) -> None:
    with pytest.raises(UsageError, match=r"the statement must have {id} and {value}"):
        Statement("--sql", text, names=["id", "value"])


async def test_a_commit_without_an_acknowledgement_is_found_out(database: Database) -> None:
    """The service has changed the row. It fails in one case, and it is gone in the other."""
    async with fake_http.answering(lambda _: fake_http.Answer(500)) as failing:
        for url, error in ((failing, "PUT 500"), ("http://127.0.0.1:1", "PUT ConnectionRefusedError")):
            write = Template.write(f'PUT {url}/{{id}} {{"name": "{{value}}"}}')
            prober = ServiceProber(Requests(Template.read("GET http://h/{id}"), write, ValuePath("name")), database)
            records = Records("run", {"1": "Ada"})
            [ada] = records
            target, tally = Target.at(url, url), CacheTally("x", strict=False)
            value, position = records.next_value(ada, tally)
            await database.change("1", value)
            assert await prober.write(Way(target, target), ada, value, position, tally) is None
            assert (ada.history.latest, tally.writes, tally.errors) == (position, 1, {error: 1})
            target.pool.close()


async def test_a_write_that_is_committed_late_makes_no_answer_stale(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that stands still commits it after the next write, which another replica has acknowledged."""
    monkeypatch.setattr("verify.cache.any_service.prober.OVER", 0.0)
    now = "Ada"

    def answer(_: fake_http.Request) -> fake_http.Answer:
        return fake_http.Answer(200, {"name": now})

    async with fake_http.answering(answer) as url:
        write = Template.write(f'PUT {url}/{{id}} {{"name": "{{value}}"}}')
        read = Template.read(f"GET {url}/{{id}}")
        prober = ServiceProber(Requests(read, write, ValuePath("name")), database)
        [ada] = records = Records("run", {"1": "Ada"})
        silent, target = Target.at("silent", "http://127.0.0.1:1"), Target.at(url, url)
        tally = CacheTally("x", strict=False)
        (late, first), (later, second) = records.next_value(ada, tally), records.next_value(ada, tally)
        assert await prober.write(Way(silent, silent), ada, late, first, tally) is None
        assert await prober.write(Way(target, target), ada, later, second, tally) == second
        now = str(late)
        assert await prober.read(Way(target, target), ada, tally) == first
        assert tally.staleness == []
        now = "Ada"
        await prober.read(Way(target, target), ada, tally)
        assert len(tally.staleness) == 1, "the value before both is old"
        silent.pool.close()
        target.pool.close()
