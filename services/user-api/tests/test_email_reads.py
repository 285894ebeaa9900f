"""`GET /v1/users?email=` answers as a read by id does, and never with a user who lost the address 2 s ago."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from tests.support.cache_names import cache_names
from tests.support.problems import problem
from tests.support.proxy import proxied
from tests.support.serving import Serve, until_ready
from tests.support.users import create, etag

from stack.layout import free_port

pytestmark = pytest.mark.anyio

BOUND = 2.0
"""Seconds within which every reader must know of a change."""


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def by_email(client: httpx.AsyncClient, email: str = "ada@example.com", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.get("/v1/users", params={"email": email}, headers=named)


@pytest.mark.parametrize("tiers", ["memory,redis", "memory", "redis", ""])
async def test_answers_as_a_read_by_id(serve: Serve, tiers: str) -> None:
    async with serve(cache_tiers=tiers) as client:
        user = await create(client)
        first = await by_email(client)
        assert (first.status_code, first.json()) == (200, {"source": "database", "data": user})
        assert first.headers["ETag"] == await etag(client)
        assert first.headers["Cache-Control"] == "private, no-cache"
        again, by_id = await by_email(client, "ADA@Example.COM"), await client.get("/v1/users/1")
        assert again.json() == by_id.json() == {"source": tiers.partition(",")[0] or "database", "data": user}
        fields = {"etag", "cache-control", "content-type"}
        assert {name: again.headers[name] for name in fields} == {name: by_id.headers[name] for name in fields}
        if tiers:
            assert again.headers["Cache-Status"].startswith(f"{tiers.partition(',')[0]}; hit; ttl=")


async def test_conditions(client: httpx.AsyncClient) -> None:
    await create(client)
    tag = await etag(client)
    for _ in range(2):
        unchanged = await by_email(client, if_none_match=tag)
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", tag)
        assert problem(await by_email(client, if_none_match="1")) == (422, "validation")
        assert problem(await by_email(client, "nobody@example.com", if_match="1")) == (422, "validation")
        assert (await by_email(client, min_version="1")).status_code == 200
        assert problem(await by_email(client, min_version="2")) == (412, "precondition-failed")
        fresh = await by_email(client, cache_control="no-cache")
        assert fresh.json()["source"] == "database"
        assert fresh.headers["Cache-Status"] == "redis; fwd=request, memory; fwd=request"


async def test_absence_is_not_cached(client: httpx.AsyncClient, sql: Any) -> None:
    for _ in range(2):
        missing = await by_email(client)
        assert problem(missing) == (404, "user-not-found")
        assert "ada" not in missing.text
    assert problem(await client.get("/v1/users/1")) == (404, "user-not-found")  # this one is
    await sql.execute("INSERT INTO users (email, name) VALUES ('Ada@example.com', 'Ada')")
    assert (await by_email(client)).json()["data"]["email"] == "Ada@example.com"


@pytest.mark.parametrize(
    "query",
    [
        *(
            f"email=ada%40example.com&{more}"
            for more in ("ids=1", "limit=1", "after=1", "x=1", "email=b%40example.com")
        ),
        *(
            "email=",
            "email=ada",
            "email=a+b%40example.com",
            "email=%C4%B1%40example.com",
            "email=%E2%84%AA%40example.com",
        ),
        "email=ada%40example.com%00",
        f"email={'x' * 300}%40example.com",
    ],
)
async def test_invalid(lasting: httpx.AsyncClient, query: str) -> None:
    response = await lasting.get(f"/v1/users?{query}")
    assert problem(response) == (422, "validation")
    assert "example.com" not in response.text


async def test_letter_case_is_that_of_ascii(client: httpx.AsyncClient, sql: Any) -> None:
    """By SQL there may be others: K is the Kelvin sign, whose lower case is k."""
    await sql.execute("INSERT INTO users (email, name) VALUES ('\N{KELVIN SIGN}@example.com', 'N')")
    assert (await by_email(client, "k@example.com")).status_code == 404
    await create(client, email="K@example.com")
    for _ in range(2):
        assert (await by_email(client, "k@example.com")).json()["data"]["id"] == 2


async def test_own_changes_are_read_at_once(client: httpx.AsyncClient) -> None:
    await create(client)
    await create(client, email="bob@example.com")
    here = "ada"
    for n in range(5):
        here, there = ("ada", "bob") if n % 2 == 0 else ("bob", "ada")
        for email, owner in ((here, 1), (there, 2)):
            assert (await by_email(client, f"{email}@example.com")).json()["data"]["id"] == owner
        await client.patch("/v1/users/1", json={"email": "free@example.com"})
        assert (await by_email(client, f"{here}@example.com")).status_code == 404
        await client.patch("/v1/users/2", json={"email": f"{here}@example.com"})
        assert (await by_email(client, f"{there}@example.com")).status_code == 404
        await client.patch("/v1/users/1", json={"email": f"{there}@example.com"})
        assert (await by_email(client, f"{here}@example.com")).json()["data"]["id"] == 2
    await client.delete("/v1/users/2")
    assert (await by_email(client, f"{here}@example.com")).status_code == 404
    assert (await create(client, email=f"{here}@example.com"))["id"] == 3
    assert (await by_email(client, f"{here}@example.com")).json()["data"]["id"] == 3


@pytest.mark.parametrize("swaps", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_nobody_is_given_who_has_not_the_address_any_more(serve: Serve, sql: Any, swaps: int) -> None:
    """Swapped, freed and reused, so often by SQL and then by PATCH of another replica, while all replicas read."""
    async with serve(replica_name="a") as a, serve(replica_name="b") as b, serve(cache_tiers="redis") as c:
        await create(a)
        await create(a, email="bob@example.com")
        left: dict[tuple[str, int], float] = {}
        """When a user was known to have the address no more."""
        asked, wrong = 0, []
        ended = asyncio.Event()

        async def read(client: httpx.AsyncClient) -> None:
            nonlocal asked
            while not ended.is_set():
                for email in ("ada@example.com", "bob@example.com"):
                    began = time.monotonic()
                    response = await by_email(client, email)
                    asked += 1
                    user = response.json().get("data")
                    if user is None:
                        assert response.status_code == 404
                        continue
                    assert user["email"] == email
                    if began > left.get((email, user["id"]), began) + BOUND:
                        wrong.append((email, user, began))
                await asyncio.sleep(0.01)

        readers = [asyncio.create_task(read(client)) for client in (a, b, c) for _ in range(2)]
        for round_ in range(2 * swaps):
            ada, bob = (2, 1) if round_ % 2 == 0 else (1, 2)  # who has them after this round
            left.pop(("ada@example.com", ada), None)
            left.pop(("bob@example.com", bob), None)
            if round_ < swaps:
                # Two statements, since each row is checked at once.
                async with sql.transaction():
                    await sql.execute("UPDATE users SET email = 'free@example.com' WHERE id = $1", bob)
                    await sql.execute("UPDATE users SET email = 'ada@example.com' WHERE id = $1", ada)
                    await sql.execute("UPDATE users SET email = 'bob@example.com' WHERE id = $1", bob)
            else:
                for user, name in ((bob, "free"), (ada, "ada"), (bob, "bob")):
                    changed = await b.patch(f"/v1/users/{user}", json={"email": f"{name}@example.com"})
                    assert changed.status_code == 200
            left["ada@example.com", bob] = left["bob@example.com", ada] = time.monotonic()
            await asyncio.sleep(BOUND + 0.7)
        ended.set()
        await asyncio.gather(*readers)
        assert not wrong
        assert asked > 100 * swaps


async def test_redis_knows_no_address_and_is_not_believed(serve: Serve, cache_url: str) -> None:
    async with serve() as client, Redis.from_url(cache_url) as redis:
        await create(client)
        await create(client, email="bob@example.com")
        await by_email(client)
        names = await cache_names(redis)
        [alias] = [name async for name in redis.scan_iter(match=names.alias("*"))]
        assert await redis.get(alias) == b"1"
        assert 0 < await redis.pttl(alias) <= 600_000
        async for name in redis.scan_iter():
            held = await redis.dump(name)
            assert held is not None
            assert b"ada@" not in (name + held).lower()
            assert b"example" not in (name + held).lower()
        for hint in ("2", "99", "0", "-1", "x", "\xff", "", "9" * 18, "9" * 19, "9" * 5000):
            await redis.set(alias, hint)
            async with serve(replica_name="b") as other:
                assert (await by_email(other)).json()["data"]["id"] == 1
                assert await redis.get(alias) == b"1"


async def test_a_replica_follows_what_another_one_has_found(serve: Serve, database_url: str) -> None:
    """So it need not ask PostgreSQL, not even when that is away."""
    async with proxied(database_url, free_port()) as proxy, serve() as a:
        await proxy.open()
        async with serve(database_url=proxy.url, replica_name="b") as b:
            await until_ready(b)
            await create(a)
            await by_email(a)
            await proxy.cut()
            assert (await by_email(b)).json()["source"] == "redis"
            assert problem(await by_email(b, "nobody@example.com")) == (503, "unavailable")


async def test_without_redis_it_is_read_from_postgresql(serve: Serve) -> None:
    async with serve(cache_url=f"redis://127.0.0.1:{free_port()}/0") as client:
        await create(client)
        for _ in range(3):
            assert (await by_email(client)).json()["source"] == "database"


async def test_the_index_is_used(sql: Any) -> None:
    async with sql.transaction():
        await sql.execute("SET LOCAL enable_seqscan = off")
        plan = await sql.fetch("EXPLAIN SELECT * FROM users WHERE lower(email COLLATE \"C\") = 'a'::varchar")
    assert any("users_email_key" in line for (line,) in plan)
