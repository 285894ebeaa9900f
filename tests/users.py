"""Users for tests."""

from typing import Any

import httpx

ADA: dict[str, Any] = {"email": "ada@example.com", "name": "Ada Lovelace"}


async def create(client: httpx.AsyncClient, **changes: str) -> dict[str, Any]:
    """Ada, with the changes, as the service answered her."""
    response = await client.post("/v1/users", json=ADA | changes)
    assert response.status_code == 201, response.text
    user: dict[str, Any] = response.json()
    return user
