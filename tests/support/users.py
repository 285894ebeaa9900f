"""Users for tests."""

import asyncio
from typing import Any

import asyncpg
import httpx

from evenkeel.cache.relay import INTERVAL

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
