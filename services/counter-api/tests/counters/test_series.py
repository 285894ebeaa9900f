"""Series over HTTP, and how old buckets are removed."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from tests.support.serving import Serve

pytestmark = pytest.mark.anyio


async def add(client: httpx.AsyncClient, *units: str, by: int = 1, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post("/v1/counters/a/increment", json={"by": by, "series": units}, headers=headers)


async def series(client: httpx.AsyncClient, query: str) -> Any:
    answer = await client.get(f"/v1/counters/a/series?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def until_gone(client: httpx.AsyncClient) -> None:
    while (await client.get("/v1/counters/a")).status_code == 200:  # noqa: ASYNC110 (there is no event to wait for)
        await asyncio.sleep(0.05)


async def test_series(client: httpx.AsyncClient) -> None:
    assert (await add(client, "hour", "minute", by=3)).json() == {"name": "a", "value": 3}
    assert (await add(client, "hour", key="k")).json() == {"name": "a", "value": 4}
    replay = await add(client, "hour", key="k")
    assert (replay.json(), replay.headers["Idempotency-Replayed"]) == ({"name": "a", "value": 4}, "true")
    # The same series in another order are the same payload. Other series are another one.
    assert (await add(client, "hour", "hour", key="k")).json() == {"name": "a", "value": 4}
    assert (await add(client, "day", key="k")).status_code == 422
    batch = {"operations": [{"name": "a", "series": ["hour"]}, {"name": "a", "max": 1, "series": ["hour"]}]}
    await client.post("/v1/counters:batch", json=batch)
    hours = await series(client, "unit=hour&last=48")
    assert (hours["name"], hours["unit"], len(hours["data"])) == ("a", "hour", 48)
    now = time.time()
    starts = [bucket["start"] for bucket in hours["data"]]
    newest = [time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(moment)) for moment in (now - 5, now + 5)]
    assert starts[-1] in newest
    assert starts == sorted(set(starts))
    assert sum(bucket["value"] for bucket in hours["data"][-2:]) == 5
    assert {bucket["value"] for bucket in hours["data"][:-2]} == {0}
    assert sum(bucket["value"] for bucket in (await series(client, "unit=minute"))["data"]) == 3
    assert len((await series(client, "unit=day"))["data"]) == 24
    await client.delete("/v1/counters/a")
    assert {bucket["value"] for bucket in (await series(client, "unit=hour"))["data"]} == {0}


async def test_series_end_with_a_counter_that_expires(client: httpx.AsyncClient) -> None:
    async def values() -> set[int]:
        return {bucket["value"] for bucket in (await series(client, "unit=day&last=3"))["data"]}

    for by in (3, 4, 5):
        # The next counter of the name is made by a plain increment, in a batch, or by a PUT.
        await client.post("/v1/counters/a/increment", json={"by": by, "ttl": 1, "series": ["day", "hour"]})
        assert await values() == {0, by}
        await until_gone(client)
        assert await values() == {0}
        if by == 3:
            assert (await client.post("/v1/counters/a/increment")).json() == {"name": "a", "value": 1}
        elif by == 4:
            await client.put("/v1/counters/a", json={"value": 1})
        else:
            assert (await add(client, "day")).json() == {"name": "a", "value": 1}
        assert await values() == ({0} if by < 5 else {0, 1})
        await client.delete("/v1/counters/a")


async def test_an_import_makes_counters_without_the_series_of_expired_ones(client: httpx.AsyncClient) -> None:
    await client.post("/v1/counters/a/increment", json={"ttl": 1, "series": ["day"]})
    await client.post("/v1/counters/b/increment", json={"by": 7, "series": ["day"]})
    await until_gone(client)
    lines = b'{"name":"a","value":1}\n{"name":"b","value":2}\n'
    assert (
        await client.post("/v1/counters:import", content=lines, headers={"Content-Type": "application/x-ndjson"})
    ).json() == {"imported": 2}
    assert {bucket["value"] for bucket in (await series(client, "unit=day"))["data"]} == {0}
    # A counter that exists keeps its series.
    kept = await client.get("/v1/counters/b/series?unit=day")
    assert {bucket["value"] for bucket in kept.json()["data"]} == {0, 7}


async def test_bad_input(client: httpx.AsyncClient) -> None:
    for body in ({"series": ["week"]}, {"series": "hour"}, {"series": ["hour"] * 4}, {"series": None}):
        answer = await client.post("/v1/counters/a/increment", json=body)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:evenkeel:problem:validation"), body
    for query in ("", "unit=week", "unit=hour&last=0", "unit=hour&last=1001", "unit=hour&x=1", "last=5"):
        answer = await client.get(f"/v1/counters/a/series?{query}")
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:evenkeel:problem:validation"), query
    assert (await client.get("/v1/counters")).json() == {"data": []}


async def test_old_buckets_go_when_a_new_one_begins(serve: Serve, counters_url: str) -> None:
    key = "{a}:series:minute"
    now = int(time.time()) // 60 * 60
    kept, gone = now - 600 + 120, now - 600 - 60
    async with serve(series_retention_minute=600) as client, Redis.from_url(counters_url) as redis:
        await redis.set("{a}", 0)
        await redis.hset(key, mapping={str(gone): 7, str(gone - 6000): 8, str(kept): 9})
        await add(client, "minute", by=5)
        buckets = {int(start): int(value) for start, value in (await redis.hgetall(key)).items()}
        assert kept in buckets
        assert sorted(buckets.values()) == [5, 9]
        # A bucket is kept for the whole retention after its end.
        assert 600 < await redis.ttl(key) <= 660
        data = (await series(client, "unit=minute&last=12"))["data"]
        assert sum(bucket["value"] for bucket in data) == 14


async def test_another_programs_data_in_the_place_of_a_series(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await redis.set("{a}:series:day", "x")
        refused = await add(client, "day")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:evenkeel:problem:not-a-counter")
        assert (await client.get("/v1/counters/a/series?unit=day")).status_code == 409
        assert (await client.get("/v1/counters/a")).status_code == 404
        assert (await add(client, "hour")).json() == {"name": "a", "value": 1}
