"""The HTTP contract of counters, on both stores."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from tests.support.serving import Serve, serving

from counter_api.main import create_app
from counter_api.settings import Settings

pytestmark = pytest.mark.anyio

INT64_MAX = 2**63 - 1


@pytest.fixture(params=["redis", "redis without hot increments", "memory"])
async def client(
    make_settings: Callable[..., Settings], request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    store, _, rest = request.param.partition(" ")
    async with serving(create_app(make_settings(store=store), hot_paths=not rest)) as client:
        yield client


def problem(slug: str, title: str, status: int, detail: str, **members: Any) -> dict[str, Any]:
    return {"type": f"urn:evenkeel:problem:{slug}", "title": title, "status": status, "detail": detail} | members


def not_found(name: str) -> dict[str, Any]:
    return problem("not-found", "There is nothing at this address", 404, f"There is no counter {name}.")


async def increment(client: httpx.AsyncClient, name: str = "a", **body: Any) -> httpx.Response:
    return await client.post(f"/v1/counters/{name}/increment", json=body)


async def set_to(client: httpx.AsyncClient, value: int, name: str = "a") -> None:
    response = await client.put(f"/v1/counters/{name}", json={"value": value})
    assert response.status_code in {200, 201}
    assert response.json() == {"name": name, "value": value}


async def test_increment(client: httpx.AsyncClient) -> None:
    without_body = await client.post("/v1/counters/a/increment")
    assert (without_body.status_code, without_body.json()) == (200, {"name": "a", "value": 1})
    assert without_body.headers["Content-Type"] == "application/json"
    assert without_body.headers["X-Served-By"] == "replica-a"
    assert len(without_body.headers["X-Request-Id"]) == 32
    assert "Idempotency-Replayed" not in without_body.headers
    assert (await increment(client)).json() == {"name": "a", "value": 2}
    assert (await increment(client, by=-5)).json() == {"name": "a", "value": -3}
    nulls = await increment(client, by=3, min=None, max=None, ttl=None)
    assert nulls.json() == {"name": "a", "value": 0}
    headers = {"Content-Type": "application/json"}
    null = await client.post("/v1/counters/a/increment", content=b"null", headers=headers)
    assert (null.status_code, null.json()["type"]) == (422, "urn:evenkeel:problem:validation")


async def test_names(client: httpx.AsyncClient) -> None:
    for name in ("0", "A", "a" * 128, "a.b_c:d-e", "batch", "increment", "9" * 30):
        assert (await increment(client, name)).json() == {"name": name, "value": 1}
        assert (await client.get(f"/v1/counters/{name}")).json() == {"name": name, "value": 1}


async def test_increment_at_its_bounds(client: httpx.AsyncClient) -> None:
    assert (await increment(client, by=10, min=10, max=10)).json() == {"name": "a", "value": 10}
    above = await increment(client, max=10)
    assert (above.status_code, above.headers["Content-Type"]) == (409, "application/problem+json")
    title = "The counter would pass its bound"
    detail = "10 + 1 would pass the max of 10; nothing was changed."
    assert above.json() == problem("counter-bound", title, 409, detail, name="a", current=10)
    below = await increment(client, by=-1, min=10)
    detail = "10 + -1 would pass the min of 10; nothing was changed."
    assert below.json() == problem("counter-bound", title, 409, detail, name="a", current=10)
    assert (await increment(client, by=0)).json() == {"name": "a", "value": 10}


async def test_increment_is_exact_at_the_edges(client: httpx.AsyncClient) -> None:
    for edge in (2**53, 2**53 + 1, INT64_MAX, -(2**53), -(2**53) - 1, -INT64_MAX):
        step = 1 if edge > 0 else -1
        await set_to(client, edge - 2 * step)
        assert (await increment(client, by=step)).text == f'{{"name":"a","value":{edge - step}}}'
        assert (await increment(client, by=step)).text == f'{{"name":"a","value":{edge}}}'
        assert (await client.get("/v1/counters/a")).headers["ETag"] == f'"{edge}"'


async def test_increment_beyond_64_bits_is_refused(client: httpx.AsyncClient) -> None:
    await set_to(client, INT64_MAX)
    refused = await increment(client)
    assert refused.status_code == 409
    assert refused.json() == problem(
        "counter-overflow",
        "The counter would leave the signed 64-bit range",
        409,
        f"{INT64_MAX} + 1 does not fit into 64 bits; nothing was changed.",
        name="a",
        current=INT64_MAX,
    )
    assert (await increment(client, by=-(2**63))).json() == {"name": "a", "value": -1}
    assert (await increment(client, by=-INT64_MAX)).json() == {"name": "a", "value": -(2**63)}
    assert (await increment(client, by=-1)).json()["current"] == -(2**63)


async def test_time_to_live(client: httpx.AsyncClient) -> None:
    await increment(client, ttl=1)
    await increment(client, ttl=1000)
    await asyncio.sleep(1.2)
    assert (await client.get("/v1/counters/a")).status_code == 404
    assert (await increment(client, ttl=315_360_000)).json() == {"name": "a", "value": 1}


async def test_read(client: httpx.AsyncClient) -> None:
    missing = await client.get("/v1/counters/a")
    assert (missing.status_code, missing.json()) == (404, not_found("a"))
    await set_to(client, -7)
    found = await client.get("/v1/counters/a")
    assert (found.status_code, found.json(), found.headers["ETag"]) == (200, {"name": "a", "value": -7}, '"-7"')
    for tags in ('"-7"', 'W/"-7"', '"1", "-7"', "*"):
        unchanged = await client.get("/v1/counters/a", headers={"If-None-Match": tags})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", '"-7"')
    changed = await client.get("/v1/counters/a", headers={"If-None-Match": '"7"'})
    assert (changed.status_code, changed.json()) == (200, {"name": "a", "value": -7})


async def test_put(client: httpx.AsyncClient) -> None:
    created = await client.put("/v1/counters/a", json={"value": 5})
    assert (created.status_code, created.json(), created.headers["ETag"]) == (201, {"name": "a", "value": 5}, '"5"')
    swapped = await client.put("/v1/counters/a", json={"value": 6}, headers={"If-Match": '"5"'})
    assert (swapped.status_code, swapped.json(), swapped.headers["ETag"]) == (200, {"name": "a", "value": 6}, '"6"')
    stale = await client.put("/v1/counters/a", json={"value": 7}, headers={"If-Match": '"5", W/"6"'})
    title = "The resource is not in the state you named"
    detail = 'If-Match does not name the current value, "6".'
    assert (stale.status_code, stale.json()) == (412, problem("precondition-failed", title, 412, detail, current=6))
    anything = await client.put("/v1/counters/a", json={"value": 8}, headers={"If-Match": "*"})
    assert anything.json() == {"name": "a", "value": 8}
    absent = await client.put("/v1/counters/b", json={"value": 7}, headers={"If-Match": "*"})
    detail = "If-Match names a counter that does not exist."
    assert (absent.status_code, absent.json()) == (
        412,
        problem("precondition-failed", title, 412, detail, current=None),
    )
    assert (await client.get("/v1/counters/b")).status_code == 404


async def test_delete(client: httpx.AsyncClient) -> None:
    await set_to(client, 5)
    stale = await client.delete("/v1/counters/a", headers={"If-Match": '"4"'})
    assert (stale.status_code, stale.json()["current"]) == (412, 5)
    deleted = await client.delete("/v1/counters/a", headers={"If-Match": '"5"'})
    assert (deleted.status_code, deleted.content) == (204, b"")
    again = await client.delete("/v1/counters/a")
    assert (again.status_code, again.json()) == (404, not_found("a"))


async def test_list(client: httpx.AsyncClient) -> None:
    empty = await client.get("/v1/counters")
    assert (empty.status_code, empty.json(), "Link" in empty.headers) == (200, {"data": []}, False)
    for value, name in enumerate(["b:2", "B", "a", "b:1", "b"]):
        await set_to(client, value, name)
    everything = await client.get("/v1/counters")
    assert [counter["name"] for counter in everything.json()["data"]] == ["B", "a", "b", "b:1", "b:2"]
    page = await client.get("/v1/counters", params={"prefix": "b", "limit": 2})
    assert page.json() == {"data": [{"name": "b", "value": 4}, {"name": "b:1", "value": 3}]}
    assert page.headers["Link"] == '</v1/counters?prefix=b&limit=2&after=b%3A1>; rel="next"'
    following = await client.get(page.links["next"]["url"])
    assert (following.json(), "Link" in following.headers) == ({"data": [{"name": "b:2", "value": 0}]}, False)


async def test_batch(client: httpx.AsyncClient) -> None:
    body = {"operations": [{"name": "a", "by": 2}, {"name": "b", "max": 0}, {"name": "a"}, {"name": "c", "by": 0}]}
    response = await client.post("/v1/counters:batch", json=body)
    detail = "0 + 1 would pass the max of 0; nothing was changed."
    refused = problem("counter-bound", "The counter would pass its bound", 409, detail, name="b", current=0)
    assert response.status_code == 200
    assert response.json() == {
        "results": [{"name": "a", "value": 2}, refused, {"name": "a", "value": 3}, {"name": "c", "value": 0}]
    }


async def test_the_largest_batch(client: httpx.AsyncClient) -> None:
    body = {"operations": [{"name": "a"}] * 1000}
    response = await client.post("/v1/counters:batch", json=body)
    assert response.json() == {"results": [{"name": "a", "value": value} for value in range(1, 1001)]}


async def test_batch_is_no_counters_name(client: httpx.AsyncClient) -> None:
    assert (await increment(client, "batch")).json() == {"name": "batch", "value": 1}
    assert (await client.get("/v1/counters:batch")).status_code == 405
    assert (await client.get("/v1/counters:other")).status_code == 404


async def test_replicas_share_the_counters(serve: Serve) -> None:
    async with serve() as one, serve(replica_name="replica-b") as two:

        async def add_twenty(client: httpx.AsyncClient) -> list[int]:
            return [(await increment(client)).json()["value"] for _ in range(20)]

        values = await asyncio.gather(*(add_twenty(client) for client in (one, two) for _ in range(10)))
        assert sorted(value for some in values for value in some) == list(range(1, 401))
        key = {"Idempotency-Key": "k"}
        assert (await one.post("/v1/counters/a/increment", headers=key)).json() == {"name": "a", "value": 401}
        replay = await two.post("/v1/counters/a/increment", headers=key)
        assert (replay.json(), replay.headers["Idempotency-Replayed"]) == ({"name": "a", "value": 401}, "true")


async def test_how_long_answers_may_be_kept(client: httpx.AsyncClient) -> None:
    """A cache must revalidate a value before each use, and must not store a problem."""
    await client.post("/v1/counters/a/increment")
    for headers in ({}, {"If-None-Match": '"1"'}):
        read = await client.get("/v1/counters/a", headers=headers)
        assert read.headers["Cache-Control"] == "no-cache", read.status_code
    assert (await client.get("/v1/counters")).headers["Cache-Control"] == "no-cache"
    for method, path in (
        ("GET", "/v1/counters/b"),
        ("GET", "/nowhere"),
        ("PATCH", "/v1/counters/a"),
        ("GET", "/v1/x?y"),
    ):
        problem = await client.request(method, path)
        assert (problem.status_code >= 400, problem.headers["Cache-Control"]) == (True, "no-store"), path


async def test_head(client: httpx.AsyncClient) -> None:
    """As GET, without a body (RFC 9110, 9.3.2). It counts nothing."""
    await set_to(client, 5)
    visits = (await client.get("/counter")).json()["current_count"]
    for _ in range(2):
        for path, headers in (
            ("/v1/counters/a", {}),
            ("/v1/counters/a", {"If-None-Match": '"5"'}),
            ("/v1/counters/a", {"If-Match": '"4"'}),
            ("/v1/counters/b", {}),
            ("/v1/counters", {}),
            ("/v1/counters/a/series?unit=day", {}),
            ("/v1/counters/a/badge.svg", {}),
            ("/v1/counters:export", {}),
            ("/v1/counters?x=1", {}),
            ("/stats", {}),
        ):
            head = await client.head(path, headers=headers)
            get = await client.get(path, headers=headers)
            assert (head.status_code, head.content) == (get.status_code, b""), path
            for name in ("ETag", "Cache-Control", "Content-Type"):
                assert head.headers.get(name) == get.headers.get(name), path
        assert (await client.head("/v1/counters/a/badge.svg?hit=true")).status_code == 200
        assert (await client.head("/counter")).status_code == 200
        assert (await client.head("/v1/counters/a/events")).headers["Content-Type"].startswith("text/event-stream")
    assert (await client.get("/v1/counters/a")).json()["value"] == 5
    assert (await client.get("/counter")).json() == {"current_count": visits + 1}
