"""GET /stats: what is counted."""

import asyncio

import httpx
import pytest
from tests.support.serving import Serve

pytestmark = pytest.mark.anyio


async def test_stats_count_every_answer(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/counter"),
        ("POST", "/v1/counters/a/increment"),
        ("GET", "/v1/counters/none"),
        ("GET", "/nowhere"),
        ("PATCH", "/counter"),
        ("POST", "/v1/counters/_/increment"),
    ):
        await client.request(method, path)
    await client.post("/v1/counters:batch", content=b"x" * 70_000)
    for path in ("/livez", "/readyz", "/metrics", "/docs", "/docs/assets/swagger-ui.css", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
    stats = await client.get("/stats")
    assert stats.json() == {"total_requests": 8, "replicas": {"replica-a": 8}}
    assert stats.headers["Cache-Control"] == "no-store"


async def test_stats_add_up_over_replicas(serve: Serve) -> None:
    async with serve() as one, serve(replica_name="replica-b") as two:
        await asyncio.gather(*(one.get("/v1/counters/a") for _ in range(60)), *(two.get("/counter") for _ in range(40)))
        assert (await two.get("/stats")).json() == {
            "total_requests": 101,
            "replicas": {"replica-a": 60, "replica-b": 41},
        }
