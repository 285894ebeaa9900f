"""What the change log and its triggers cost writers."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable

import asyncpg
from benchmarks.goals import Goal, report
from benchmarks.rounds import Options
from benchmarks.tables import show
from benchmarks.users import populate
from tests.support.servers import embedded

CONNECTIONS = 8
ROWS = 1000
"""Rows in one statement."""

LOGGED = "users"
PLAIN = "users_without_triggers"

Statement = Callable[["asyncpg.Connection", str, int], Awaitable[object]]


def measure(options: Options) -> None:
    with embedded() as servers:
        database = populate(servers.postgres, "bench", 0)
        rates = asyncio.run(_compete(database, options))
    show(
        ["rows inserted a second", "without", "with the log"],
        [(name, f"{tables[PLAIN]:,.0f}", f"{tables[LOGGED]:,.0f}") for name, tables in rates.items()],
    )
    report(
        Goal(f"insert rate with the change log / without: {name}", tables[LOGGED] / tables[PLAIN], least=0.75)
        for name, tables in rates.items()
    )


async def _compete(database: str, options: Options) -> dict[str, dict[str, float]]:
    """The medians of the rounds, by kind of statement and by table."""
    async with asyncpg.create_pool(database, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        await pool.execute(f"CREATE TABLE {PLAIN} (LIKE {LOGGED} INCLUDING ALL)")
        numbers = itertools.count()
        rates: dict[str, dict[str, list[float]]] = {
            name: {PLAIN: [], LOGGED: []} for name in ("one row each", f"{ROWS} rows each")
        }
        for _ in range(options.rounds):
            for tables, statement, rows in zip(rates.values(), (_one, _many), (1, ROWS), strict=True):
                for table, measured in tables.items():
                    await pool.execute("CHECKPOINT")  # so that no table pays for the writes to another
                    measured.append(rows * await _rate(pool, statement, table, numbers, options.seconds))
    return {
        name: {table: statistics.median(measured) for table, measured in tables.items()}
        for name, tables in rates.items()
    }


async def _rate(
    pool: "asyncpg.Pool", statement: Statement, table: str, numbers: "itertools.count[int]", seconds: float
) -> float:
    """Statements a second over all connections. Each statement is a transaction."""
    deadline = time.perf_counter() + seconds

    async def insert() -> int:
        done = 0
        async with pool.acquire() as connection:
            while time.perf_counter() < deadline:
                await statement(connection, table, next(numbers))
                done += 1
        return done

    began = time.perf_counter()
    done = await asyncio.gather(*(insert() for _ in range(CONNECTIONS)))
    return sum(done) / (time.perf_counter() - began)


async def _one(connection: "asyncpg.Connection", table: str, n: int) -> None:
    await connection.execute(
        f"INSERT INTO {table} (email, name) VALUES ($1, $2)",  # noqa: S608 (two names of our own)
        f"one{n}@example.com",
        f"User {n}",
    )


async def _many(connection: "asyncpg.Connection", table: str, n: int) -> None:
    await connection.execute(
        f"INSERT INTO {table} (email, name)"  # noqa: S608 (as above)
        " SELECT 'many' || $1::bigint || '.' || n || '@example.com', 'User ' || n"
        f" FROM generate_series(1, {ROWS}) AS n",
        n,
    )
