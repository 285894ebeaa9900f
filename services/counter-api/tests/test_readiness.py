"""/readyz: Redis answers, and is set up so that it keeps what it confirms."""

from typing import Any

import anyio
import httpx
import pytest
from redis.asyncio import Redis
from tests.serving import Serve

pytestmark = pytest.mark.anyio

OVERRIDES = "(COUNTER_API_ALLOW_UNSAFE_REDIS=true overrides)"


async def reason(client: httpx.AsyncClient) -> str:
    response = await client.get("/readyz")
    assert response.status_code == 503, response.text
    document = response.json()
    [(check, why)] = document["checks"].items()
    assert document == {
        "type": "urn:evenkeel:problem:not-ready",
        "title": "This replica is not ready",
        "status": 503,
        "detail": f"{check}: {why}.",
        "checks": {check: why},
    }
    assert check == "redis-settings"
    return str(why)


async def test_ready(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("setting", "safe", "unsafe"),
    [
        ("appendonly", "yes", "no"),
        ("appendfsync", "always", "everysec"),
        ("maxmemory-policy", "noeviction", "allkeys-lru"),
    ],
)
async def test_a_redis_that_may_lose_counts_is_not_ready(
    serve: Serve, counters_url: str, setting: str, safe: str, unsafe: str
) -> None:
    async with Redis.from_url(counters_url) as redis:
        await redis.config_set(setting, unsafe)
        try:
            async with serve() as client, serve(allow_unsafe_redis=True) as trusting:
                sentence = f"this Redis may lose counts: {setting} is {unsafe} and must be {safe} {OVERRIDES}"
                assert await reason(client) == sentence
                assert (await trusting.get("/readyz")).json() == {"status": "ready"}
                await redis.config_set(setting, safe)
                assert (await client.get("/readyz")).json() == {"status": "ready"}
        finally:
            await redis.config_set(setting, safe)


async def test_settings_that_cannot_be_seen_are_not_taken_for_safe(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with Redis.from_url(own_redis.url) as redis:
        await redis.acl_setuser(
            "app", enabled=True, passwords=["+pw"], categories=["+@all"], commands=["-config"], keys=["*"]
        )
    url = own_redis.url.replace("://:test@", "://app:pw@")
    async with serve(redis_url=url) as client, serve(redis_url=url, allow_unsafe_redis=True) as trusting:
        assert "so whether counts are safe there cannot be seen: permit CONFIG GET" in await reason(client)
        assert (await client.get("/counter")).json() == {"current_count": 1}
        assert (await trusting.get("/readyz")).json() == {"status": "ready"}


async def test_a_wrong_password_is_told_without_the_password(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url.replace(":test@", ":hunter2@")) as client:
        for path in ("/readyz", "/counter"):
            response = await client.get(path)
            assert response.status_code == 503
            assert "invalid username-password" in response.text
            assert "hunter2" not in response.text
