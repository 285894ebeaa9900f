"""The fleet: replicas list each other, with what each is doing, and miss one that was killed."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from tests.support.fleet import events, states, until
from tests.support.problems import problem
from tests.support.redis_pair import redis_server
from tests.support.replica import Replica
from tests.support.serving import Serve, until_ready
from tests.support.users import create

from evenkeel.redis import heartbeats
from user_api.settings import Settings
from user_api.stores import forget

pytestmark = pytest.mark.anyio

PATH = "/v1/fleet/user-api"


async def test_replicas_list_each_other_until_one_is_killed(
    serve: Serve, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    async with redis_server(tmp_path) as server, AsyncExitStack() as stack:
        other = Replica(make_settings(replica_name="b", cache_url=server.url), tmp_path)
        stack.push_async_callback(other.stop)
        await other.start()
        client = await stack.enter_async_context(serve(replica_name="a", cache_url=server.url))
        await until_ready(client)
        user = await create(client)
        for _ in range(20):
            await client.get(f"/v1/users/{user['id']}")
        # The first heartbeat of a replica may come before its first check: it says that the replica is starting.
        ready = {"a": "ready", "b": "ready"}
        document = await until(
            client, PATH, lambda found: found["replicas"][0]["hits"]["memory"] > 0 and states(found) == ready
        )
        assert document.keys() == {"service", "replicas", "relay"}
        assert document["service"] == "user-api"
        first, second = document["replicas"]
        assert first["requests_per_second"] > 0 == second["requests_per_second"]
        assert first["pool"] == second["pool"] == {"in_use": 0, "size": 10}
        assert second["hits"] == {"memory": 0, "redis": 0, "database": 0}
        assert (first["reason"], second["reason"]) == (None, None)
        assert second["started_at"] < second["seen_at"] <= first["seen_at"]
        relay = document["relay"]
        assert relay["name"] in {"a", "b"}
        assert len(relay["epoch"]) == 16
        assert 0 <= relay["lag_seconds"] < 1.5

        # Heartbeats outlive a new epoch.
        assert await forget(make_settings(cache_url=server.url))
        document = await until(client, PATH, lambda found: found["relay"]["epoch"] != relay["epoch"])
        assert states(document) == {"a": "ready", "b": "ready"}

        # Read by this process alone: the other replica's heartbeat expires as Redis was told by that one.
        await other.kill()
        document = await until(client, PATH, lambda found: states(found) == {"a": "ready", "b": "gone"})
        gone = document["replicas"][1]
        assert gone["reason"].startswith("no heartbeat for ")
        assert (gone["requests_per_second"], gone["started_at"]) == (0, second["started_at"])
        await until(client, PATH, lambda found: found["relay"]["name"] == "a")
        async with server.client() as redis:
            [name] = [name async for name in redis.scan_iter("evenkeel:{user}:*:fleet:b")]
            assert 0 < await redis.pttl(name) < heartbeats.KEPT * 1000
            await redis.pexpire(name, 1)
        await until(client, PATH, lambda found: states(found) == {"a": "ready"})


async def test_a_replica_that_ends_is_not_missed(serve: Serve, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as server, serve(replica_name="a", cache_url=server.url) as client:
        async with serve(replica_name="b", cache_url=server.url):
            await until(client, PATH, lambda found: states(found).keys() == {"a", "b"})
        await until(client, PATH, lambda found: states(found).keys() == {"a"})


async def test_without_redis_a_replica_lists_itself(serve: Serve, tmp_path: Path) -> None:
    async with redis_server(tmp_path) as server, AsyncExitStack() as stack:
        client = await stack.enter_async_context(serve(replica_name="a", cache_url=server.url))
        await stack.enter_async_context(serve(replica_name="b", cache_url=server.url))
        await until(client, PATH, lambda found: len(found["replicas"]) == 2)
        async with client.stream("GET", f"{PATH}/events") as response:
            documents = events(response)
            assert len((await anext(documents))["replicas"]) == 2
            await server.kill()
            async with asyncio.timeout(20):
                async for document in documents:
                    if states(document).keys() == {"a"} and document["relay"]["lag_seconds"] > 1.5:
                        break


@pytest.mark.parametrize("tiers", ["memory", ""])
async def test_without_a_redis_tier(serve: Serve, tiers: str) -> None:
    async with serve(replica_name="a", cache_tiers=tiers, cache_url=None) as client:
        await until_ready(client)
        document = await until(client, PATH, lambda found: states(found) == {"a": "ready"})
        assert document["relay"] is None


async def test_a_replica_that_is_not_ready(serve: Serve) -> None:
    async with serve(replica_name="a", cache_tiers="", database_url="postgresql://u:p@127.0.0.1:1/x") as client:
        document = await until(client, PATH, lambda found: found["replicas"][0]["reason"] is not None)
        [replica] = document["replicas"]
        assert replica["state"] == "starting"
        assert replica["reason"].startswith("postgresql: ")
        assert problem(await client.get("/readyz")) == (503, "not-ready")


async def test_what_is_refused(client: httpx.AsyncClient) -> None:
    for path in (PATH, f"{PATH}/events"):
        head = await client.head(path)
        assert (head.status_code, head.content, head.headers["cache-control"]) == (200, b"", "no-store")
        assert head.headers["x-served-by"] == "replica-a"
        refused = await client.post(path)
        assert (problem(refused), refused.headers["allow"]) == ((405, "method-not-allowed"), "GET, HEAD")
        assert problem(await client.get(path, params={"a": "1"})) == (422, "validation")
        assert problem(await client.get(path, headers={"If-Match": '"a"'})) == (412, "precondition-failed")
    assert problem(await client.get("/v1/fleet/counter-api")) == (404, "not-found")


async def test_a_stream_ends_with_its_replica(serve: Serve) -> None:
    async with httpx.AsyncClient(timeout=30) as outside:
        async with serve() as client:
            request = outside.build_request("GET", f"{client.base_url}{PATH}/events")
            response = await outside.send(request, stream=True)
            assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in response.aiter_lines()]
    assert lines[0].startswith("retry: ")
    assert lines[-2].startswith("retry: ")
