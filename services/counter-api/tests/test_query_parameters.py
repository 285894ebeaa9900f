"""No query parameter is ignored, overrides another one, or is guessed."""

import json
import re
from typing import Any

import httpx
import pytest
from tests.support.problems import problem

pytestmark = pytest.mark.anyio

SENT: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/v1/counters/{name}/increment"): {"json": {"by": 1}},
    ("put", "/v1/counters/{name}"): {"json": {"value": 1}},
    ("post", "/v1/counters:batch"): {"json": {"operations": [{"name": "a"}]}},
    ("post", "/v1/uniques/{name}"): {"json": {"member": "x"}},
    ("post", "/v1/counters:import"): {
        "content": b'{"name":"a","value":1}',
        "headers": {"Content-Type": "application/x-ndjson"},
    },
}
NEEDED = {"/v1/counters/{name}/series": "unit=hour"}


async def operations(client: httpx.AsyncClient) -> list[tuple[str, str, dict[str, Any], list[str]]]:
    """Method, path, arguments, and the names of the query parameters."""
    document = (await client.get("/openapi.json")).json()
    return [
        (
            method.upper(),
            f"{re.sub('{name}', 'a', path)}?{NEEDED.get(path, '')}",
            SENT.get((method, path), {}),
            [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"],
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


async def test_unknown_and_repeated_parameters(client: httpx.AsyncClient) -> None:
    every = await operations(client)
    assert len(every) == 18
    for method, path, arguments, known in every:
        for query in ("x=1", "x", "%00=", "ttl=1&x=1", "limits=1", "name=b"):
            response = await client.request(method, f"{path}&{query}", **arguments)
            assert problem(response) == (422, "validation"), (method, path, query)
            assert {error["in"] for error in response.json()["errors"]} == {"query"}
        for name in known:
            response = await client.request(method, f"{path}&{name}=1&{name}=1", **arguments)
            assert problem(response) == (422, "validation"), (method, path, name)
            detail = {"in": "query", "field": name, "detail": "sent more than once"}
            assert response.json()["errors"] == [detail]
    assert (await client.get("/v1/counters")).json() == {"data": []}
    assert (await client.get("/v1/counters?")).status_code == 200
    assert (await client.get("/counter?&")).json() == {"current_count": 1}


@pytest.mark.parametrize(
    "number", ["", "0", "1001", "x", "1_0", "+10", "%2B10", "%2010", "10%20", "1.0", "-1", "%D9%A3"]
)
async def test_numbers(lasting: httpx.AsyncClient, number: str) -> None:
    for path in (f"/v1/counters?limit={number}", f"/v1/counters/a/series?unit=hour&last={number}"):
        assert problem(await lasting.get(path)) == (422, "validation"), path


async def test_values(lasting: httpx.AsyncClient) -> None:
    for path in (
        *(f"/v1/counters?{query}" for query in ("after=", "after=_a", "after=%00", "prefix=*", "prefix=%7B")),
        f"/v1/counters?prefix={'a' * 129}",
        f"/v1/counters?limit={'9' * 5000}",
        "/v1/counters:export?prefix=*",
        "/v1/counters/a/badge.svg?hit=yes",
        "/v1/counters/a/badge.svg?hit=True",
    ):
        assert problem(await lasting.get(path)) == (422, "validation"), path
    assert (await lasting.get("/v1/counters?limit=007&prefix=")).status_code == 200


async def test_the_answer_is_no_larger_than_the_question(lasting: httpx.AsyncClient) -> None:
    query = "&".join(f"x{number}=1" for number in range(2000))
    answers = [await lasting.get(f"{path}?{query}") for path in ("/v1/counters/a", "/counter", "/stats")]
    for answer in answers:
        assert problem(answer) == (422, "validation")
        assert len(json.dumps(answer.json())) < 600
