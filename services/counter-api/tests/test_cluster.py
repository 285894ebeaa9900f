"""Counters on a Redis Cluster of three nodes."""

import asyncio
import base64

import httpx
import pytest
from redis.crc import key_slot
from tests.support.counters_redis import Cluster, CountersServer, own_servers
from tests.support.counting import counting
from tests.support.serving import Serve, until_ready

pytestmark = [pytest.mark.anyio, own_servers]

NAMES = [f"n{number:02}" for number in range(40)]


async def add(client: httpx.AsyncClient, name: str, **headers: str) -> int:
    answer = await client.post(f"/v1/counters/{name}/increment", headers=headers)
    assert answer.status_code == 200, answer.text
    value: int = answer.json()["value"]
    return value


async def test_counting_over_all_nodes(serve: Serve, emptied: Cluster) -> None:
    async with serve(redis_url=emptied.url) as one, serve(redis_url=emptied.url, replica_name="replica-b") as two:
        assert (await one.get("/readyz")).json() == {"status": "ready"}
        values = await asyncio.gather(*(add(client, name) for _ in range(5) for name in NAMES for client in (one, two)))
        assert sorted(values) == sorted([*range(1, 11)] * len(NAMES))
        sizes = [await emptied.call(node, "DBSIZE") for node in emptied.nodes]
        assert min(sizes) > 0
        assert (await one.get("/stats")).json() == {
            "total_requests": 401,
            "replicas": {"replica-a": 201, "replica-b": 200},
        }
        assert (await two.get("/v1/counters/n07")).json() == {"name": "n07", "value": 10}
        pages = []
        url: str | None = "/v1/counters?prefix=n&limit=17"
        while url:
            page = await one.get(url)
            pages.append([counter["name"] for counter in page.json()["data"]])
            url = page.links.get("next", {}).get("url")
        assert pages == [NAMES[:17], NAMES[17:34], NAMES[34:]]


async def test_every_kind_of_operation(serve: Serve, emptied: Cluster) -> None:
    async with serve(redis_url=emptied.url) as client:
        operations = [{"name": name, "by": place, "series": ["day"]} for place, name in enumerate(NAMES)]
        body = {"operations": [*operations, *operations]}
        first = await client.post("/v1/counters:batch", json=body, headers={"Idempotency-Key": "k"})
        values = [result["value"] for result in first.json()["results"]]
        assert values == [*range(40), *(2 * place for place in range(40))]
        again = await client.post("/v1/counters:batch", json=body, headers={"Idempotency-Key": "k"})
        assert again.json() == first.json()
        for place, name in enumerate(NAMES[:9], 1):
            path = f"/v1/counters/{name}"
            swapped = await client.put(path, json={"value": 7}, headers={"If-Match": f'"{2 * place - 2}"'})
            assert swapped.json() == {"name": name, "value": 7}
            series = await client.get(f"{path}/series?unit=day&last=2")
            assert sum(bucket["value"] for bucket in series.json()["data"]) == 2 * place - 2
            assert (await client.delete(path)).status_code == 204
            assert (await client.get(path)).status_code == 404


async def test_refusals_and_preconditions_on_all_nodes(serve: Serve, emptied: Cluster) -> None:
    async with serve(redis_url=emptied.url, uniques_key=base64.b64encode(b"u" * 32).decode()) as client:
        key = {"Idempotency-Key": "k"}
        operations = [{"name": name, "min": 1 + place % 2} for place, name in enumerate(NAMES)]
        first = await client.post("/v1/counters:batch", json={"operations": operations}, headers=key)
        assert [result.get("value", result.get("status")) for result in first.json()["results"]] == [1, 409] * 20
        for name in NAMES[:8]:
            path = f"/v1/counters/{name}"
            made = await client.put(path, json={"value": 7}, headers=key | {"If-None-Match": "*"})
            assert made.status_code == (412 if name in NAMES[::2] else 201)
            current = (await client.get(path)).headers["ETag"]
            held = await client.post(f"{path}/increment", headers=key | {"If-Match": current})
            gone = await client.post(f"{path}/increment", headers={"If-Match": current})
            assert (held.status_code, gone.status_code) == (200, 412)
            again = await client.put(path, json={"value": 7}, headers=key | {"If-None-Match": "*"})
            assert (again.status_code, again.text) == (made.status_code, made.text)
            members = [await client.post(f"/v1/uniques/{name}", json={"member": "m"}, headers=key) for _ in range(2)]
            assert [each.headers.get("Idempotency-Replayed") for each in (*members, again)] == [None, "true", "true"]
        again = await client.post("/v1/counters:batch", json={"operations": operations}, headers=key)
        assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")


def node_of(cluster: Cluster, name: str) -> CountersServer:
    return cluster.nodes[key_slot(f"{{{name}}}".encode()) * 3 // 16384]


async def test_a_slot_that_moves_under_load(serve: Serve, emptied: Cluster) -> None:
    slot, source = key_slot(b"{moving}"), node_of(emptied, "moving")
    target = next(node for node in emptied.nodes if node is not source)
    async with serve(redis_url=emptied.url) as client, counting(client, name="moving", unkeyed=True) as told:
        for before, after in ((source, target), (target, source)):
            await asyncio.sleep(0.2)
            async with emptied.moving(slot, before, after):
                await asyncio.sleep(0.1)
            await told.more(20)


async def test_between_two_nodes(serve: Serve, emptied: Cluster) -> None:
    """The keys have moved, but not yet the slot: the old node redirects single commands to the new one.

    The receipt is on the new node too, so the replica counted there before. During the move a node refuses a script if
    it lacks one of the script's keys.
    """
    slot, source = key_slot(b"{moving}"), node_of(emptied, "moving")
    target = next(node for node in emptied.nodes if node is not source)
    async with serve(redis_url=emptied.url) as client:
        await until_ready(client)  # it has found the nodes
        assert await add(client, "moving") == 1
        async with emptied.moving(slot, source, target):
            assert (await client.get("/v1/counters/moving")).json()["value"] == 1
            assert await add(client, "moving") == 2
            assert await add(client, "moving") == 3
        assert await add(client, "moving") == 4
        async with emptied.moving(slot, target, source):
            pass
        assert await add(client, "moving") == 5


async def test_a_node_that_dies_and_comes_back(serve: Serve, emptied: Cluster) -> None:
    node = node_of(emptied, "n00")
    others = [name for name in NAMES if node_of(emptied, name) is not node]
    # By default a cluster refuses all commands while a slot is on no node.
    for each in emptied.nodes:
        await emptied.call(each, "CONFIG", "SET", "cluster-require-full-coverage", "no")
    async with serve(redis_url=emptied.url) as client:
        assert await add(client, "n00") == 1
        assert await add(client, others[0]) == 1
        await node.kill()
        refused = await client.post("/v1/counters/n00/increment")
        assert refused.status_code == 503
        assert "nothing was changed" in refused.json()["detail"]
        assert [await add(client, name) for name in others] == [2] + [1] * (len(others) - 1)
        assert (await client.get("/v1/counters/n00")).status_code == 503
        # Requests for other counters are still served here.
        assert (await client.get("/readyz")).status_code == 200
        await node.start()
        while not await emptied.agrees():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0.05)
        assert await add(client, "n00") == 2
        # Some of them were made while the shard of their names was on a dead node.
        page = await client.get("/v1/counters?prefix=n")
        assert [counter["name"] for counter in page.json()["data"]] == sorted(["n00", *others])


async def test_one_unsafe_node_is_enough_to_be_not_ready(serve: Serve, emptied: Cluster) -> None:
    await emptied.call(emptied.nodes[1], "CONFIG", "SET", "appendfsync", "everysec")
    try:
        async with serve(redis_url=emptied.url) as client:
            ready = await client.get("/readyz")
        assert (ready.status_code, list(ready.json()["checks"])) == (503, ["redis-settings"])
        assert "appendfsync is everysec and must be always" in ready.json()["detail"]
    finally:
        await emptied.call(emptied.nodes[1], "CONFIG", "SET", "appendfsync", "always")
