"""The fleet: replicas list each other, miss one that was killed, and show the busiest counters."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from unittest.mock import AsyncMock

import httpx
import pytest
from tests.support.counters_redis import counters_server
from tests.support.fleet import Document, events, states, until
from tests.support.problems import problem
from tests.support.serving import Serve, until_ready

from evenkeel.redis.heartbeats import Heartbeats

pytestmark = pytest.mark.anyio

PATH = "/v1/fleet/counter-api"

HIGH = 2**63 - 20
"""A value that a double cannot hold."""


async def test_replicas_list_each_other_until_one_is_gone(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(counters_server(tmp_path, "own"))
        client = await stack.enter_async_context(serve(redis_url=server.url, replica_name="a"))
        async with serve(redis_url=server.url, replica_name="b") as other:
            await until_ready(client)
            await until_ready(other)
            await client.put("/v1/counters/high", json={"value": HIGH})
            await increment(client, other)
            document = await until(client, PATH, lambda found: names(found)[:2] == ["high", "second"])
            # A view of the other replica shows the same.
            await until(other, PATH, lambda found: names(found)[:2] == ["high", "second"])
            monkeypatch.setattr(Heartbeats, "leave", AsyncMock())  # as if it were killed
        assert document.keys() == {"service", "replicas", "busiest"}
        assert (document["service"], states(document)) == ("counter-api", {"a": "ready", "b": "ready"})
        for replica in document["replicas"]:
            assert (replica["reason"], replica["hits"]) == (None, None)
            assert replica["pool"]["size"] >= 2
            assert replica["requests_per_second"] > 0
        high, second, *others = document["busiest"]
        assert high["value"] == HIGH + 15
        assert high["per_second"] > second["per_second"] > 0
        assert len(others) == 8

        document = await until(client, PATH, lambda found: states(found) == {"a": "ready", "b": "gone"})
        gone = document["replicas"][1]
        assert gone["reason"].startswith("no heartbeat for ")
        assert (gone["requests_per_second"], gone["pool"]["in_use"]) == (0, 0)
        async with server.client() as redis:
            assert await redis.pexpire("{_fleet}:b", 1)
        await until(client, PATH, lambda found: states(found) == {"a": "ready"})
        # The rates are those of the last seconds.
        await until(client, PATH, lambda found: found["busiest"] == [])


async def increment(one: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    """`high` 15 times, `second` five times, others once. A visit and what is refused do not count."""
    for number in range(15):
        await one.post(f"/v1/counters/{number}/increment")
        await (one, other)[number % 2].post("/v1/counters/high/increment")
        await other.get("/counter")
    await other.post("/v1/counters:batch", json={"operations": [{"name": "second", "by": 7}] * 5})
    for _ in range(20):
        await other.post("/v1/counters/0/increment", json={"max": 0})


def names(document: Document) -> list[str]:
    return [counter["name"] for counter in document["busiest"]]


async def test_without_redis_a_replica_lists_itself(serve: Serve, tmp_path: Path) -> None:
    async with counters_server(tmp_path, "own") as server, serve(redis_url=server.url, replica_name="a") as client:
        await until_ready(client)
        async with serve(redis_url=server.url, replica_name="b"):
            await until(client, PATH, lambda found: len(found["replicas"]) == 2)
            await client.post("/v1/counters/a/increment")
            async with client.stream("GET", f"{PATH}/events") as response:
                documents = events(response)
                assert states(await anext(documents)).keys() == {"a", "b"}
                server.freeze()
                async with asyncio.timeout(30):
                    async for document in documents:
                        if states(document) == {"a": "not-ready"}:
                            assert document["replicas"][0]["reason"].startswith("redis: ")
                            assert document["busiest"] == []
                            break
                server.thaw()
                async with asyncio.timeout(30):
                    async for document in documents:
                        if states(document) == {"a": "ready", "b": "ready"}:
                            break


async def test_one_process(serve: Serve) -> None:
    async with serve(store="memory", replica_name="a") as client:
        await client.post("/v1/counters/a/increment")
        document = await until(client, PATH, lambda found: found["busiest"] != [])
        assert [replica["pool"] for replica in document["replicas"]] == [{"in_use": 0, "size": 0}]
        assert document["busiest"][0] | {"per_second": 1} == {"name": "a", "value": 1, "per_second": 1}


async def test_what_is_refused(client: httpx.AsyncClient) -> None:
    before = (await client.get("/stats")).json()["total_requests"]
    for path in (PATH, f"{PATH}/events"):
        head = await client.head(path)
        assert (head.status_code, head.content, head.headers["cache-control"]) == (200, b"", "no-store")
        refused = await client.put(path)
        assert (problem(refused), refused.headers["allow"]) == ((405, "method-not-allowed"), "GET, HEAD")
        assert problem(await client.get(path, params={"a": "1"})) == (422, "validation")
        assert problem(await client.get(path, headers={"If-Match": '"a"'})) == (412, "precondition-failed")
    assert problem(await client.get("/v1/fleet/user-api")) == (404, "not-found")
    assert (await client.get("/stats")).json()["total_requests"] == before + 1
