"""Users for tests."""

import asyncio
from collections.abc import Iterable
from typing import Any

import asyncpg
import httpx

from evenkeel.cache.relay import INTERVAL
from verify.connection import Connection

ADA: dict[str, Any] = {"email": "ada@example.com", "name": "Ada Lovelace"}


async def create(client: httpx.AsyncClient, **changes: str) -> dict[str, Any]:
    """Ada with these changes, as the service answered."""
    response = await client.post("/v1/users", json=ADA | changes)
    assert response.status_code == 201, response.text
    user: dict[str, Any] = response.json()
    return user


async def create_and_settle(client: httpx.AsyncClient, **changes: str) -> dict[str, Any]:
    """As `create`, and wait until the relay has read the change: it invalidates the user once more."""
    user = await create(client, **changes)
    await asyncio.sleep(3 * INTERVAL)
    return user


async def create_and_cache(client: httpx.AsyncClient, **changes: str) -> dict[str, Any]:
    """As `create_and_settle`, and read until a tier answers, five times and more than a look of the relay apart.

    Right after its start, a relay has yet to begin an epoch, and nothing is cached before.
    """
    user = await create_and_settle(client, **changes)
    hits = 0
    async with asyncio.timeout(60):
        while hits < 5:
            answer = await client.get(f"/v1/users/{user['id']}")
            hits = 0 if answer.json()["source"] == "database" else hits + 1
            await asyncio.sleep(INTERVAL)
    return user


async def read_until_cached(url: str, ids: Iterable[int]) -> None:
    """Read each user until a tier answers: right after its start, a relay has yet to begin an epoch.

    The TimeoutError comes after a minute.
    """
    async with Connection(url) as connection, asyncio.timeout(60):
        for user_id in ids:
            source = "database"
            while source == "database":
                source = (await connection.request("GET", f"/v1/users/{user_id}")).json()["source"]


async def etag(client: httpx.AsyncClient, user_id: int = 1) -> str:
    """The present entity tag of the user in the database."""
    response = await client.get(f"/v1/users/{user_id}", headers={"Cache-Control": "no-cache"})
    assert response.status_code == 200, response.text
    return response.headers["ETag"]


async def count(database_url: str) -> int:
    """The number of users in the database."""
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM users"))
    finally:
        await connection.close()
