"""Many readers of one user that is cached nowhere."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from demo.findings import EVENKEEL, TUTORIAL, Bar, Finding, seconds, unmet
from demo.stage import USERS, Stage
from verify.connection import NO_ANSWER, Pool
from verify.target import REQUEST_TIMEOUT

READERS = 1000
AT_ONCE = 100
"""By default, a client of redis-py has so many connections, and further readers of the tutorial would get an error."""

FEWER = 10
"""Evenkeel's queries are fewer by this factor at least."""

QUERY = re.compile(r"LOG:  execute [^:]*: SELECT [^\n]*\bFROM users\b")
"""A statement in PostgreSQL's log that reads users."""

QUERY_TAKES = 0.3
"""Seconds. A lock holds the first queries up for so long."""

EFFECTIVE = 0.2
"""Seconds until all sessions have read a changed setting."""


@dataclass(frozen=True)
class Stampede:
    queries: int
    answered: int


async def shown(stage: Stage) -> list[Finding]:
    async with _logged_statements(stage):
        tutorial = await _stampede(str(stage.cache.program.url), "/user/redis", stage)
        evenkeel = await _stampede(stage.gateway.url, "/v1/users", stage)
        return [finding(tutorial, evenkeel)]


def finding(tutorial: Stampede, evenkeel: Stampede) -> Finding:
    return Finding(
        f"{READERS:,} readers of a key that is not cached",
        f"{AT_ONCE} read at a time, and the first query takes {seconds(QUERY_TAKES)}. PostgreSQL gets"
        f" {_queries(tutorial.queries)} from the tutorial, and"
        f" {_queries(evenkeel.queries)} from Evenkeel's {USERS} replicas.",
        (
            Bar(TUTORIAL, tutorial.queries, _queries(tutorial.queries)),
            Bar(EVENKEEL, evenkeel.queries, _queries(evenkeel.queries)),
        ),
        unmet(
            {
                f"Evenkeel's queries were not fewer than a {FEWER}th": tutorial.queries >= FEWER * evenkeel.queries > 0,
                "Evenkeel did not answer every reader": evenkeel.answered == READERS,
            }
        ),
    )


def queries(log: str) -> int:
    """How many statements in this part of PostgreSQL's log read users."""
    # The further lines of a statement begin with a tab.
    return len(QUERY.findall(log.replace("\n\t", " ")))


def _queries(count: int) -> str:
    return f"{count:,} {'query' if count == 1 else 'queries'}"


async def _stampede(url: str, path: str, stage: Stage) -> Stampede:
    warm, cold = stage.new_user(), stage.new_user()
    limit = asyncio.Semaphore(AT_ONCE)
    with contextlib.closing(Pool(url, timeout=REQUEST_TIMEOUT)) as pool:

        async def read(user_id: int) -> bool:
            async with limit:
                try:
                    reply = await pool.request("GET", f"{path}/{user_id}")
                except NO_ANSWER:
                    return False
                return reply.status == 200

        await read(warm)
        await asyncio.gather(*(read(warm) for _ in range(AT_ONCE)))  # all connections are open now
        log = stage.layout.log("postgres")
        before = log.stat().st_size
        async with stage.sql() as sql:
            async with sql.transaction():
                await sql.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
                reading = asyncio.gather(*(read(cold) for _ in range(READERS)))
                await asyncio.sleep(QUERY_TAKES)
            answers = await reading
    with log.open() as file:
        file.seek(before)
        return Stampede(queries(file.read()), sum(answers))


@contextlib.asynccontextmanager
async def _logged_statements(stage: Stage) -> AsyncIterator[None]:
    """PostgreSQL writes every statement into its log in this block."""
    async with stage.sql() as sql:
        await sql.execute("ALTER SYSTEM SET log_statement = 'all'")
        await sql.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(EFFECTIVE)
        try:
            yield
        finally:
            await sql.execute("ALTER SYSTEM RESET log_statement")
            await sql.execute("SELECT pg_reload_conf()")
