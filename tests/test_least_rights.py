"""Both services work with the Redis users of docs/operations.md, which have only the rights that are needed."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis
from tests.support.cache_servers import WatchedCache, cache_cluster, owner, watched_cache
from tests.support.counters_redis import Cluster, CountersServer, counters_cluster, counters_server
from tests.support.servers import Servers
from tests.support.serving import serving, until_ready
from tests.support.users_database import empty_users_database

from counter_api.main import create_app as counter_app
from counter_api.settings import Settings as CounterSettings
from user_api.main import create_app as user_app
from user_api.settings import Settings as UserSettings

pytestmark = pytest.mark.anyio

OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"
SECRET = "of-the-least-user"


def rights(user: str) -> list[str]:
    """The users from the page."""
    [line] = re.findall(rf"^user {user} on >PASSWORD (.+)$", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    return str(line).split()


async def admit(redis: Redis, user: str) -> None:
    await redis.execute_command("ACL SETUSER", user, "on", f">{SECRET}", *rights(user))  # type: ignore[no-untyped-call]


async def denied(redis: Redis) -> list[tuple[Any, Any]]:
    """The commands that Redis has refused."""
    log: list[dict[str, Any]] = await redis.execute_command("ACL LOG")  # type: ignore[no-untyped-call]
    return [(entry["username"], entry["object"]) for entry in log]


async def until_busy(client: httpx.AsyncClient, name: str) -> None:
    """Return when the fleet shows the counter among the busiest, with its value."""
    for value in range(2, 300):
        assert (await client.post(f"/v1/counters/{name}/increment")).status_code == 200
        fleet = (await client.get("/v1/fleet/counter-api")).json()
        if name in {counter["name"] for counter in fleet["busiest"] if counter["value"] <= value}:
            return
    raise AssertionError("it is not shown")


@pytest.fixture
def database_url(servers: Servers) -> str:
    return empty_users_database(servers.postgres)


@asynccontextmanager
async def users(database_url: str, cache_key: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    options = UserSettings(database_url=database_url, cache_keys=cache_key, replica_name="a", **settings)
    async with serving(user_app(options)) as client:
        await until_ready(client)
        yield client


async def use_the_cache(client: httpx.AsyncClient, database_url: str) -> None:
    """Fills, invalidations through the service and by hand, and one of everything. At the end both tiers answer."""
    for number in range(3):
        user = {"email": f"{number}@example.com", "name": "A"}
        assert (await client.post("/v1/users", json=user)).status_code == 201
    hand = await asyncpg.connect(database_url)
    try:
        [first, *_] = [row["id"] for row in await hand.fetch("SELECT id FROM users ORDER BY id")]
        path = f"/v1/users/{first}"
        await until(client, path, "memory")
        assert (await client.patch(path, json={"name": "B"})).status_code == 200
        await until(client, path, "memory")
        await hand.execute("UPDATE users SET name = 'C' WHERE id = $1", first)
        await until(client, path, "memory", name="C")
        await hand.execute("TRUNCATE users")
        await gone(client, path)
        fleet = (await client.get("/v1/fleet/user-api")).json()
        assert fleet["relay"]["name"] == "a"
    finally:
        await hand.close()


async def until(client: httpx.AsyncClient, path: str, source: str, name: str | None = None) -> None:
    answer: dict[str, Any] = {}
    for _ in range(600):
        answer = (await client.get(path)).json()
        if answer.get("source") == source and name in {None, answer["data"]["name"]}:
            return
    raise AssertionError(f"{source} never answered: {answer}")


async def gone(client: httpx.AsyncClient, path: str) -> None:
    for _ in range(600):
        if (await client.get(path)).status_code == 404:
            return
    raise AssertionError("it is still there")


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[WatchedCache]:
    async with watched_cache(tmp_path) as cache:
        for server in (cache.primary, cache.replica):
            async with server.client() as redis:
                await admit(redis, "cache")
        async with cache.sentinel.client() as sentinel:
            await admit(sentinel, "sentinels")
        yield cache


@pytest.mark.slow
async def test_the_cache_by_sentinel(watched: WatchedCache, database_url: str, cache_key: str) -> None:
    settings = {
        "cache_url": watched.sentinel.url(SECRET, user="cache"),
        "cache_sentinel_username": "sentinels",
        "cache_sentinel_password": SECRET,
    }
    async with users(database_url, cache_key, **settings) as client:
        await use_the_cache(client, database_url)
    async with watched.primary.client() as redis:
        assert await denied(redis) == []
        assert await redis.dbsize() > 0
    async with watched.sentinel.client() as sentinel:
        assert await denied(sentinel) == []


async def test_the_cache_in_a_cluster(tmp_path: Path, database_url: str, cache_key: str) -> None:
    async with cache_cluster(tmp_path) as cluster:
        for node in cluster.nodes:
            async with node.client() as redis:
                await admit(redis, "cache")
        async with users(database_url, cache_key, cache_url=as_user(cluster, "cache")) as client:
            await use_the_cache(client, database_url)
        async with owner(cluster).client() as redis:
            assert await denied(redis) == []
            assert await redis.dbsize() > 0


def as_user(cluster: Cluster, user: str) -> str:
    return f"redis+cluster://{user}:{SECRET}@{cluster.url.rpartition('@')[2]}"


async def count(url: str, servers: list[CountersServer]) -> None:
    """Every kind of operation."""
    for server in servers:
        async with server.client() as redis:
            await admit(redis, "counters")
    settings = CounterSettings(redis_url=url, uniques_key="aGFzaCBrZXksIGRldmVsb3BtZW50IG9ubHksIDMyIEI=")
    async with serving(counter_app(settings)) as client:
        await until_ready(client)
        once, ndjson = {"Idempotency-Key": "k"}, {"Content-Type": "application/x-ndjson"}
        path = "/v1/counters/a"
        ndjson = {"Content-Type": "application/x-ndjson"}
        operations = [{"name": name, "by": 1, "series": ["day"]} for name in ("a", "b", "c")]
        for answer in (
            await client.post(f"{path}/increment"),
            await client.post(f"{path}/increment", headers=once),
            await client.post(f"{path}/increment", headers=once),
            await client.post("/v1/counters:batch", json={"operations": operations}),
            await client.get(path),
            await client.get(f"{path}/series?unit=day&last=2"),
            await client.put(path, json={"value": 7}, headers={"If-Match": '"3"'}),
            await client.get("/v1/counters?prefix=a"),
            await client.get("/v1/counters:export"),
            await client.post("/v1/counters:import", content='{"name":"d","value":1}\n', headers=once | ndjson),
            await client.post("/v1/uniques/u", json={"member": "m"}),
            await client.post("/v1/uniques/u", json={"member": "m"}, headers=once),
            await client.post("/v1/uniques/u", json={"member": "m"}, headers=once),
            await client.get("/v1/uniques/u"),
            await client.delete("/v1/uniques/u", headers=once),
            await client.get("/stats"),
            await client.get("/counter"),
            await client.delete(path),
        ):
            assert answer.status_code < 300, (answer.request.url, answer.text)
        await until_busy(client, "b")
        async with client.stream("GET", "/v1/counters/b/events") as events:
            async for line in events.aiter_lines():
                if line.startswith("data"):
                    break
    for server in servers:
        async with server.client() as redis:
            assert await denied(redis) == []


async def test_the_counters_on_one_server(tmp_path: Path) -> None:
    async with counters_server(tmp_path, "counters") as server:
        await count(f"redis://counters:{SECRET}@127.0.0.1:{server.port}/1", [server])


@pytest.mark.slow
async def test_the_counters_in_a_cluster(tmp_path: Path) -> None:
    async with counters_cluster(tmp_path) as cluster:
        await count(as_user(cluster, "counters"), cluster.nodes)
