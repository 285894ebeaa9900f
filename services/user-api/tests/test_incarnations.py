"""An entity tag names a state of one row. Another row that gets its id later has other tags, whoever made it."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support.users import create, create_and_settle, etag

pytestmark = pytest.mark.anyio

AGAIN = [
    "DELETE FROM users; INSERT INTO users (id, email, name) OVERRIDING SYSTEM VALUE VALUES (1, 'b@example.com', 'Bob')",
    "TRUNCATE users RESTART IDENTITY; INSERT INTO users (email, name) VALUES ('b@example.com', 'Bob')",
    # The same person again, with everything but the tag as it was.
    """CREATE TEMPORARY TABLE before AS SELECT * FROM users; DELETE FROM users;
    INSERT INTO users (id, email, name, version, created_at, updated_at) OVERRIDING SYSTEM VALUE
    SELECT id, email, name, version, created_at, updated_at FROM before; DROP TABLE before""",
]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def seen(client: httpx.AsyncClient, tag: str) -> None:
    """Return when the replica answers with another tag than this one, as it does within two seconds."""
    for _ in range(1000):
        if (await client.get("/v1/users/1")).headers.get("ETag") not in {None, tag}:
            return
    raise AssertionError("the old row is still answered")


@pytest.mark.parametrize("statements", AGAIN, ids=["inserted", "truncated", "restored"])
async def test_tag_of_the_row_before_never_matches(client: httpx.AsyncClient, connection: Any, statements: str) -> None:
    await create_and_settle(client)
    old = (await client.get("/v1/users/1")).headers["ETag"]
    assert (await client.get("/v1/users/1")).json()["source"] == "memory"
    await connection.execute(statements)
    for method, body in (("PATCH", {"name": "Mistaken"}), ("DELETE", None)):
        refused = await client.request(method, "/v1/users/1", json=body, headers={"If-Match": old})
        assert (refused.status_code, refused.json()["current"]) == (412, 1)
    unchanged = {"If-None-Match": old}
    answer = await client.get("/v1/users/1", headers=unchanged | {"Cache-Control": "no-cache"})
    assert answer.status_code == 200
    await seen(client, old)
    for _ in range(3):  # from PostgreSQL, Redis or memory
        cached = await client.get("/v1/users/1", headers=unchanged)
        assert (cached.status_code, cached.headers["ETag"]) == (200, answer.headers["ETag"])
    assert (await client.get("/v1/users/1", headers={"If-None-Match": answer.headers["ETag"]})).status_code == 304
    changed = await client.patch("/v1/users/1", json={"name": "C"}, headers={"If-Match": answer.headers["ETag"]})
    assert changed.status_code == 200


async def test_every_change_draws_another_tag(client: httpx.AsyncClient, connection: Any) -> None:
    await create(client)
    tags = [await etag(client)]
    for n in range(3):
        tags.append((await client.patch("/v1/users/1", json={"name": f"B{n}"})).headers["ETag"])
        await connection.execute("UPDATE users SET name = 'By hand', version = 1")
        tags.append(await etag(client))
    assert len(set(tags)) == len(tags)
    assert all(len(tag) == 34 for tag in tags)


async def test_all_tiers_answer_the_same_tag(client: httpx.AsyncClient) -> None:
    await create(client)
    answers = [await client.get("/v1/users/1") for _ in range(2)]
    assert {answer.headers["ETag"] for answer in answers} == {await etag(client)}
    assert "tag" not in answers[0].json()["data"]
