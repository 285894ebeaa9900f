"""/readyz: Redis answers, and is set up so that it keeps what it confirms."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from redis.asyncio import Redis
from tests.support.counters_redis import own_servers
from tests.support.fake_redis import fake_redis
from tests.support.problems import problem
from tests.support.serving import Serve, until_ready

from counter_api.redis.safety import REQUIRED

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
        ("no-appendfsync-on-rewrite", "no", "yes"),
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
                # When the append-only file is switched on, it is first written in full. Until then it does not grow.
                await until_ready(client)
        finally:
            await redis.config_set(setting, safe)


async def test_changes_are_refused_while_redis_may_lose_them(serve: Serve, counters_url: str) -> None:
    """A gateway without any ready replica sends requests to those that are not ready."""
    async with Redis.from_url(counters_url) as redis, serve(uniques_key=KEY) as running:
        await running.post("/v1/counters/a/increment")
        await redis.config_set("appendfsync", "everysec")
        try:
            # Before it serves, a replica that starts finds out by itself. One that runs finds out when it is checked.
            async with serve(uniques_key=KEY) as started, serve(allow_unsafe_redis=True) as trusting:
                why = await reason(running)
                for client in (started, running):
                    for method, path, body in CHANGES:
                        response = await client.request(method, path, json=body)
                        assert problem(response) == (503, "unavailable"), (method, path)
                        assert response.json()["detail"] == f"Nothing was changed, because {why}."
                        assert response.headers["Retry-After"] == "5"
                    assert (await client.get("/v1/counters/a")).json() == {"name": "a", "value": 1}
                    assert (await client.get("/stats")).json()["total_requests"] > len(CHANGES)
                assert (await trusting.post("/v1/counters/a/increment")).json() == {"name": "a", "value": 2}
                await redis.config_set("appendfsync", "always")
                await until_ready(running)
                assert (await running.post("/v1/counters/a/increment")).json() == {"name": "a", "value": 3}
        finally:
            await redis.config_set("appendfsync", "always")


KEY = base64.b64encode(b"u" * 32).decode()

CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/v1/counters/a/increment", None),
    ("POST", "/v1/counters/new/increment", {"by": 2}),
    ("POST", "/v1/counters:batch", {"operations": [{"name": "a"}, {"name": "b"}]}),
    ("PUT", "/v1/counters/a", {"value": 5}),
    ("DELETE", "/v1/counters/a", None),
    ("POST", "/v1/uniques/a", {"member": "m"}),
    ("GET", "/counter", None),
]


@own_servers
async def test_a_redis_that_cannot_be_reached_is_no_verdict(serve: Serve, own_redis: Any) -> None:
    async with serve(redis_url=own_redis.url) as client:
        assert "Redis cannot be reached" in (await client.post("/v1/counters/a/increment")).json()["detail"]
        await anyio.to_thread.run_sync(own_redis.start)
        await until_ready(client)
        assert (await client.post("/v1/counters/a/increment")).json() == {"name": "a", "value": 1}


@own_servers
async def test_settings_that_cannot_be_seen_are_not_taken_for_safe(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with Redis.from_url(own_redis.url) as redis:
        await redis.acl_setuser(
            "app", enabled=True, passwords=["+pw"], categories=["+@all"], commands=["-config"], keys=["*"]
        )
    url = own_redis.url.replace("://:test@", "://app:pw@")
    async with serve(redis_url=url) as client, serve(redis_url=url, allow_unsafe_redis=True) as trusting:
        assert "so whether counts are safe there cannot be checked: permit CONFIG GET" in await reason(client)
        refused = await client.get("/counter")
        assert problem(refused) == (503, "unavailable")
        assert "cannot be checked: permit CONFIG GET" in refused.json()["detail"]
        assert (await trusting.get("/counter")).json() == {"current_count": 1}
        assert (await trusting.get("/readyz")).json() == {"status": "ready"}


@own_servers
async def test_a_wrong_password_is_told_without_the_password(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url.replace(":test@", ":hunter2@")) as client:
        for path in ("/readyz", "/counter"):
            response = await client.get(path)
            assert response.status_code == 503
            assert "invalid username-password" in response.text
            assert "hunter2" not in response.text


@asynccontextmanager
async def lying_redis(replies: Callable[[list[bytes]], bytes]) -> AsyncIterator[str]:
    async with fake_redis(replies) as port:
        yield f"redis://127.0.0.1:{port}/0"


def bulk(text: str) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text.encode())


class Claims:
    """Reports good settings. The test chooses what the file and WAITAOF do."""

    def __init__(self, *, grows: bool = True, confirms: bytes = b"*2\r\n:1\r\n:0\r\n", status: str = "ok") -> None:
        self._grows = grows
        self._confirms = confirms
        self._status = status
        self._size = 100

    def __call__(self, command: list[bytes]) -> bytes:  # noqa: PLR0911 (one for each command)
        match [part.upper() for part in command]:
            case [b"HELLO", *_]:
                return b"%1\r\n+proto\r\n:3\r\n"
            case [b"TIME"]:
                return b"*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"
            case [b"CONFIG", b"GET", *_]:
                claimed = [bulk(text) for item in REQUIRED.items() for text in item]
                return b"%%%d\r\n%b" % (len(REQUIRED), b"".join(claimed))
            case [b"INFO", *_]:
                return bulk(f"aof_last_write_status:{self._status}\r\naof_current_size:{self._size}\r\n")
            case [b"SET", *_]:
                self._size += 50 * self._grows
                return b"+OK\r\n"
            case [b"WAITAOF", *_]:
                return self._confirms
            case _:
                return b"+OK\r\n"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        (Claims(), None),
        (Claims(grows=False), f"this Redis may lose counts: its append-only file does not grow with them {OVERRIDES}"),
        (
            Claims(confirms=b"*2\r\n:0\r\n:0\r\n"),
            f"this Redis may lose counts: WAITAOF does not confirm a write {OVERRIDES}",
        ),
        (
            Claims(status="err"),
            f"this Redis may lose counts: it could not write to its append-only file {OVERRIDES}",
        ),
        (Claims(confirms=b"-ERR unknown command\r\n"), None),
    ],
)
async def test_a_redis_that_does_not_do_what_it_says(serve: Serve, claims: Claims, why: str | None) -> None:
    async with lying_redis(claims) as url, serve(redis_url=url) as client:
        if why is None:
            assert (await client.get("/readyz")).json() == {"status": "ready"}
        else:
            assert await reason(client) == why


async def test_replicas_that_do_not_confirm_keep_it_from_being_ready(serve: Serve) -> None:
    async with lying_redis(Claims()) as url, serve(redis_url=url, replica_acks=1, patience=0.3) as client:
        assert "Too few replicas have confirmed it" in await reason(client)
    claims = Claims(confirms=b"-ERR unknown command\r\n")
    async with lying_redis(claims) as url, serve(redis_url=url, replica_acks=1, patience=0.3) as client:
        assert "unknown command" in await reason(client)
    claims = Claims(confirms=b"*2\r\n:1\r\n:1\r\n")
    async with lying_redis(claims) as url, serve(redis_url=url, replica_acks=1, patience=0.3) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready"}
