"""A smoke test of any deployment: `pytest tests/integration/test_smoke.py --gateway URL`."""

import asyncio
from collections import Counter

import httpx
import pytest
from tests.support.problems import problem
from tests.support.users import create

from verify.connection import Connection

pytestmark = [pytest.mark.anyio, pytest.mark.with_sidecars_too]

INCREMENTS = 20_000
CLIENTS = 64


async def test_a_user_is_written_read_changed_and_deleted(client: httpx.AsyncClient, email: str) -> None:
    user = await create(client, email=email)
    path = f"/v1/users/{user['id']}"
    response = await client.get(path, headers={"Cache-Control": "no-cache"})
    assert (response.status_code, response.json()) == (200, {"source": "database", "data": user})
    sources = set()
    for _ in range(30):
        answer = (await client.get(path)).json()
        assert answer["data"] == user
        sources.add(answer["source"])
    assert "memory" in sources
    response = await client.patch(path, json={"name": "Countess"}, headers={"If-Match": response.headers["ETag"]})
    assert (response.status_code, response.json()["version"]) == (200, 2)
    for _ in range(10):
        assert (await client.get(path, headers={"Min-Version": "2"})).json()["data"]["name"] == "Countess"
    assert (await client.delete(path)).status_code == 204
    assert problem(await client.get(path, headers={"Cache-Control": "no-cache"})) == (404, "user-not-found")


async def test_every_replica_gets_requests_and_says_its_name(client: httpx.AsyncClient) -> None:
    for path, service in (("/v1/users?limit=1", "user-api"), ("/v1/counters?limit=1", "counter-api")):
        served = Counter([(await client.get(path)).headers["X-Served-By"] for _ in range(60)])
        assert len(served) >= 2, f"{service}: {served}"


async def test_stats_count_the_requests_of_all_replicas(client: httpx.AsyncClient) -> None:
    before = (await client.get("/stats")).json()
    served = Counter([(await client.get("/counter")).headers["X-Served-By"] for _ in range(50)])
    after = await client.get("/stats")
    served[after.headers["X-Served-By"]] += 1
    stats = after.json()
    assert stats["total_requests"] >= sum(stats["replicas"].values())  # some replicas may have been forgotten
    assert stats["total_requests"] >= before["total_requests"] + 51
    for replica, count in served.items():
        assert stats["replicas"][replica] >= before["replicas"].get(replica, 0) + count


async def test_counter_counts_its_visits(client: httpx.AsyncClient) -> None:
    counts = [(await client.get("/counter")).json()["current_count"] for _ in range(20)]
    assert counts == list(range(counts[0], counts[0] + 20))


@pytest.mark.slow
async def test_twenty_thousand_increments_by_64_clients_are_1_to_20000(gateway: str, name: str) -> None:
    values: list[int] = []
    remaining = iter(range(INCREMENTS))

    async def work() -> None:
        async with Connection(gateway) as connection:
            for _ in remaining:
                reply = await connection.request("POST", f"/v1/counters/{name}/increment")
                assert reply.status == 200, reply.body
                values.append(reply.json()["value"])

    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    async with Connection(gateway) as connection:
        reply = await connection.request("GET", f"/v1/counters/{name}")
        assert reply.json() == {"name": name, "value": INCREMENTS}
    assert sorted(values) == list(range(1, INCREMENTS + 1))


async def test_the_console(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert (page.status_code, page.headers["X-Served-By"]) == (200, "gateway")
    assert "<title>Evenkeel</title>" in page.text


async def test_documentation_of_both_services(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert (page.status_code, page.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    for service in ("user-api", "counter-api"):
        document = (await client.get(f"/openapi/{service}.json")).json()
        assert document["info"]["title"] == service
        assert document["paths"]
    assert (await client.get("/docs/assets/swagger-ui-bundle.js")).status_code == 200
