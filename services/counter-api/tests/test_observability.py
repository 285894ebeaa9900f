"""The OpenAPI document and the metrics."""

import httpx
import pytest
from tests.support.problems import OF_EVERY_OPERATION

pytestmark = pytest.mark.anyio


async def test_openapi_declares_every_answer(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    answers = {
        f"{method.upper()} {path}": sorted(operation["responses"].keys() - OF_EVERY_OPERATION)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert answers == {
        "POST /v1/counters/{name}/increment": ["200", "409", "412", "413", "415", "422", "503"],
        "GET /v1/counters/{name}": ["200", "304", "404", "409", "412", "422", "503"],
        "PUT /v1/counters/{name}": ["200", "201", "409", "412", "413", "415", "422", "503"],
        "DELETE /v1/counters/{name}": ["204", "404", "409", "412", "422", "503"],
        "GET /v1/counters": ["200", "412", "422", "503"],
        "POST /v1/counters:batch": ["200", "413", "415", "422", "503"],
        "GET /v1/counters/{name}/series": ["200", "409", "412", "422", "503"],
        "GET /v1/counters/{name}/events": ["200", "409", "412", "422", "503"],
        "GET /v1/counters/{name}/badge.svg": ["200", "409", "412", "422", "503"],
        "GET /v1/counters:export": ["200", "412", "422", "503"],
        "POST /v1/counters:import": ["200", "409", "415", "422", "503"],
        "POST /v1/uniques/{name}": ["200", "409", "413", "415", "422", "501", "503"],
        "GET /v1/uniques/{name}": ["200", "404", "409", "412", "422", "501", "503"],
        "DELETE /v1/uniques/{name}": ["204", "404", "409", "422", "501", "503"],
        "GET /counter": ["200", "409", "412", "422", "503"],
        "GET /stats": ["200", "412", "422", "503"],
        "GET /v1/fleet/counter-api": ["200", "412", "422", "503"],
        "GET /v1/fleet/counter-api/events": ["200", "412", "422", "503"],
    }
    conflict = document["paths"]["/v1/counters/{name}/increment"]["post"]["responses"]["409"]
    examples = conflict["content"]["application/problem+json"]["examples"]
    assert sorted(examples) == ["counter-bound", "counter-overflow", "not-a-counter"]


async def test_metrics(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k"}
    for _ in range(2):
        await client.post("/v1/counters/a/increment", headers=key)
    await client.post("/v1/counters:batch", json={"operations": [{"name": "a"}, {"name": "a", "max": 0}]})
    await client.put("/v1/counters/a", json={"value": 1}, headers={"If-Match": '"5"'})
    await client.delete("/v1/counters/a")
    lines = (await client.get("/metrics")).text.splitlines()
    assert sorted(line for line in lines if line.startswith("counter_operations_total")) == [
        'counter_operations_total{operation="delete",outcome="applied"} 1.0',
        'counter_operations_total{operation="increment",outcome="applied"} 2.0',
        'counter_operations_total{operation="increment",outcome="counter-bound"} 1.0',
        'counter_operations_total{operation="increment",outcome="replayed"} 1.0',
        'counter_operations_total{operation="put",outcome="precondition-failed"} 1.0',
    ]
