"""Export and import: everything comes back, nothing is set twice, and memory is constant."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import httpx
import pytest
from redis.asyncio import Redis
from tests.support.counters_redis import own_servers
from tests.support.problems import problem
from tests.support.serving import Serve

from counter_api.counters.sorted_counters import SortedCounters
from counter_api.transfer import importing
from counter_api.transfer.entries import LONGEST_LINE
from counter_api.transfer.memory_store import MemoryTransferStore
from stack.layout import free_port

pytestmark = pytest.mark.anyio

EXPORT, IMPORT = "/v1/counters:export", "/v1/counters:import"
NDJSON = {"Content-Type": "application/x-ndjson"}
KEY = {"Idempotency-Key": "k"} | NDJSON


def ndjson(*entries: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def numbered(begin: int, end: int, value: int | None = None) -> bytes:
    """Counters n0, n1, …, each with its number as value."""
    return ndjson(*({"name": f"n{n}", "value": n if value is None else value} for n in range(begin, end)))


async def exported(client: httpx.AsyncClient, **query: str) -> dict[str, dict[str, Any]]:
    response = await client.get(EXPORT, params=query)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert response.headers["Cache-Control"] == "no-store"
    entries = [json.loads(line) for line in response.text.splitlines()]
    for entry in entries:
        if "ttl" in entry:
            assert 3500 < entry["ttl"] <= 3600
            entry["ttl"] = 3600
    assert len({entry["name"] for entry in entries}) == len(entries)
    return {entry["name"]: entry for entry in entries}


async def imported(client: httpx.AsyncClient, content: Any, **headers: str) -> int:
    # A large import has no answer for as long as it takes.
    response = await client.post(IMPORT, content=content, headers=NDJSON | headers, timeout=600)
    assert response.status_code == 200, response.text
    assert response.json().keys() == {"imported"}
    number: int = response.json()["imported"]
    return number


async def value(client: httpx.AsyncClient, name: str) -> int | None:
    response = await client.get(f"/v1/counters/{name}")
    return response.json()["value"] if response.status_code == 200 else None


async def until_there(client: httpx.AsyncClient, name: str) -> None:
    while await value(client, name) is None:  # noqa: ASYNC110 (the replica's state)
        await asyncio.sleep(0.01)


async def refused(client: httpx.AsyncClient, content: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Status, slug, and the members beyond the usual ones."""
    response = await client.post(IMPORT, content=content, headers=NDJSON | (headers or {}))
    status, slug = problem(response)
    document: dict[str, Any] = response.json()
    return {"status": status, "slug": slug} | {name: document[name] for name in ("line", "applied") if name in document}


async def test_what_was_exported_can_be_imported_elsewhere(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    edges = [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)]
    wanted: dict[str, dict[str, Any]] = {f"e{n}": {"name": f"e{n}", "value": edge} for n, edge in enumerate(edges)}
    wanted["A.b_c:d-e"] = {"name": "A.b_c:d-e", "value": 7, "ttl": 3600}
    wanted |= {f"n{n}": {"name": f"n{n}", "value": n} for n in range(1500)}
    async with serve() as one, serve(redis_url=own_redis.url) as other, serve(store="memory") as memory:
        assert await imported(one, ndjson(*wanted.values())) == len(wanted)
        await one.get("/counter")
        assert await exported(one) == wanted
        for client in (other, memory):
            async with one.stream("GET", EXPORT) as response:
                assert await imported(client, response.aiter_bytes()) == len(wanted)
            assert await exported(client) == wanted
        assert await exported(other, prefix="e") == {name: line for name, line in wanted.items() if name[0] == "e"}
        assert await exported(memory, prefix="n149") == {f"n{n}": wanted[f"n{n}"] for n in (149, *range(1490, 1500))}
        assert await exported(other, prefix="nothing") == {}
    async with serve(redis_url=own_redis.url) as client, Redis.from_url(own_redis.url) as redis:
        assert 3500 < await redis.ttl("{A.b_c:d-e}") <= 3600
        assert await redis.ttl("{e0}") == -1
        assert await value(client, "A.b_c:d-e") == 7


async def test_import_overwrites_value_and_time_to_live(client: httpx.AsyncClient) -> None:
    await client.post("/v1/counters/a/increment", json={"by": 5, "ttl": 1})
    await client.post("/v1/counters/b/increment", json={"by": 5})
    body = ndjson({"name": "a", "value": 1}, {"name": "b", "value": 2, "ttl": 1}, {"name": "b", "value": 3, "ttl": 1})
    assert await imported(client, body) == 3
    assert (await value(client, "a"), await value(client, "b")) == (1, 3)
    await asyncio.sleep(1.2)
    assert (await value(client, "a"), await value(client, "b")) == (1, None)


async def test_blank_lines_and_line_ends(client: httpx.AsyncClient) -> None:
    body = b'\r\n{"name":"a","value":1}\r\n\n  \n {"value": 2, "ttl": null, "name": "b"} '
    assert await imported(client, body) == 2
    assert await imported(client, b"") == 0
    assert set(await exported(client)) == {"a", "b"}


async def test_a_bad_line_is_named_and_what_came_before_it_is_applied(client: httpx.AsyncClient) -> None:
    bad: Sequence[tuple[bytes, str]] = [
        (b"nonsense", "malformed-json"),
        (b'{"name":"x","value":1', "malformed-json"),
        (b'{"name":"x","value":1} {"name":"y","value":1}', "malformed-json"),
        (b"\xff", "malformed-json"),
        (b"[1]", "validation"),
        (b'{"name":"x"}', "validation"),
        (b'{"name":"x","value":1.0}', "validation"),
        (b'{"name":"x","value":"1"}', "validation"),
        (b'{"name":"x","value":9223372036854775808}', "validation"),
        (b'{"name":"_x","value":1}', "validation"),
        (b'{"name":"x\\u0000","value":1}', "validation"),
        (b'{"name":"x","value":1,"ttl":0}', "validation"),
        (b'{"name":"x","value":1,"\\u001b":2}', "validation"),
        (b'{"name":"x","value":1,"value":2}', "validation"),
        (b'{"name":"x","value":1,"n\\u0061me":"x"}', "validation"),
        (b'{"name":"x","value":1,"ttl":null,"ttl":null}', "validation"),
        (b'{"name":"x","value":1}'.ljust(LONGEST_LINE) + b".", "validation"),
        (b"[" * LONGEST_LINE, "malformed-json"),
        (b"x" * 2**20, "validation"),
    ]
    for place, (line, slug) in enumerate(bad):
        body = b"\n" + numbered(0, 600, place) + line + b"\n" + ndjson({"name": "behind", "value": 1})
        answer = await refused(client, body)
        assert answer == {"status": 422, "slug": slug, "line": 602, "applied": 600}, line[:50]
        assert (await value(client, "n599"), await value(client, "behind")) == (place, None)
    assert set(await exported(client)) == {f"n{n}" for n in range(600)}


async def test_the_problem_says_what_is_wrong(client: httpx.AsyncClient) -> None:
    response = await client.post(IMPORT, content=b'{"name":"x","value":"1"}', headers=NDJSON)
    assert response.json() == {
        "type": "urn:evenkeel:problem:validation",
        "title": "The request is not valid",
        "status": 422,
        "detail": "Line 1: value: Input should be a valid integer.",
        "errors": [{"in": "body", "field": "value", "detail": "Input should be a valid integer"}],
        "line": 1,
        "applied": 0,
    }


async def test_a_retry_with_the_key_sets_nothing_again(client: httpx.AsyncClient) -> None:
    body = numbered(0, 1200)
    first = await client.post(IMPORT, content=body, headers=KEY)
    assert (first.status_code, first.json()) == (200, {"imported": 1200})
    assert "Idempotency-Replayed" not in first.headers
    await client.post("/v1/counters/n7/increment")
    again = await client.post(IMPORT, content=body, headers=KEY)
    assert (again.status_code, again.json()) == (200, {"imported": 1200})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await value(client, "n7") == 8
    assert await imported(client, body, **{"Idempotency-Key": "other"}) == 1200
    assert await value(client, "n7") == 7
    assert await imported(client, body) == 1200


async def test_a_key_belongs_to_one_body(client: httpx.AsyncClient) -> None:
    body = numbered(0, 1200)
    await imported(client, body, **KEY)
    others = [
        numbered(0, 1201),
        numbered(0, 1199),
        numbered(0, 1000),
        b"",
        body.replace(b'"value": 3}', b'"value": 4}'),
        body.replace(b'"value": 1199}', b'"value": 1}'),
        body + b" \n" + ndjson({"name": "a", "value": 1}),
    ]
    for other in others:
        answer = await refused(client, other, KEY)
        assert (answer["status"], answer["slug"]) == (422, "idempotency-mismatch"), other[-80:]
    assert (await value(client, "n3"), await value(client, "n1199"), await value(client, "n1200")) == (3, 1199, None)
    # Blank lines do not count.
    assert await imported(client, b"\n" + body.replace(b"\n", b" \r\n\n"), **KEY) == 1200


@pytest.mark.parametrize("good", [700, 1000])
async def test_a_retry_goes_on_behind_what_was_applied(client: httpx.AsyncClient, good: int) -> None:
    assert await refused(client, numbered(0, good) + b"nonsense\n", KEY) == {
        "status": 422,
        "slug": "malformed-json",
        "line": good + 1,
        "applied": good,
    }
    await client.post("/v1/counters/n7/increment")
    answer = await refused(client, numbered(0, good - 1) + ndjson({"name": "x", "value": 1}), KEY)
    assert answer["slug"] == "idempotency-mismatch"
    mended = await client.post(IMPORT, content=numbered(0, 1300), headers=KEY)
    assert (mended.status_code, mended.json()) == (200, {"imported": 1300})
    assert "Idempotency-Replayed" not in mended.headers
    assert (await value(client, "n7"), await value(client, "n1299"), await value(client, "x")) == (8, 1299, None)


async def test_the_same_import_at_the_same_time_is_applied_once(serve: Serve, counters_url: str) -> None:
    body = numbered(0, 5200)
    async with serve() as one, serve() as two, Redis.from_url(counters_url) as redis:
        before = (await redis.info("commandstats")).get("cmdstat_set", {"calls": 0})["calls"]
        answers = await asyncio.gather(*(c.post(IMPORT, content=body, headers=KEY) for c in (one, two, one, two)))
        assert [answer.json() for answer in answers] == [{"imported": 5200}] * 4
        sets = (await redis.info("commandstats"))["cmdstat_set"]["calls"] - before
        # Each counter once, and the record with each of 11 batches. Checks of readiness write a little too.
        assert 0 <= sets - 5200 - 11 < 100
        assert len(await exported(one)) == 5200


async def test_a_broken_off_body_is_kept_as_far_as_it_came(client: httpx.AsyncClient) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield numbered(0, 1000)
        await until_there(client, "n999")
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await client.post(IMPORT, content=broken(), headers=KEY)
    await client.post("/v1/counters/n7/increment")
    assert await imported(client, numbered(0, 1300), **KEY) == 1300
    assert (await value(client, "n7"), await value(client, "n1299")) == (8, 1299)


async def test_another_programs_data_is_left_alone(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis:
        for foreign in ("x", "1.5", "007", ""):
            await redis.set("{n501}", foreign)
            answer = await refused(client, numbered(0, 600))
            assert answer == {"status": 409, "slug": "not-a-counter", "line": 502, "applied": 500}
            assert (await redis.get("{n501}"), await redis.exists("{n500}")) == (foreign.encode(), 0)
        await redis.delete("{n501}")
        await redis.rpush("{n501}", "x")
        assert (await refused(client, numbered(0, 600)))["slug"] == "not-a-counter"
        assert len(await exported(client)) == 500


@own_servers
async def test_redis_that_fails_on_the_way(serve: Serve, own_redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "FIRST_PAUSE", 0.02)
    await anyio.to_thread.run_sync(own_redis.start)

    async def body() -> AsyncIterator[bytes]:
        yield numbered(0, 1000)
        await until_there(client, "n999")
        own_redis.kill()
        yield numbered(1000, 2000)

    async with serve(redis_url=own_redis.url, patience=2) as client:
        answer = await refused(client, body(), KEY)
        assert answer == {"status": 503, "slug": "unavailable", "applied": 1000}
        assert problem(await client.get(EXPORT)) == (503, "unavailable")
        await anyio.to_thread.run_sync(own_redis.start)
        await client.post("/v1/counters/n7/increment")
        assert await imported(client, numbered(0, 2000), **KEY) == 2000
        assert (await value(client, "n7"), await value(client, "n1999")) == (8, 1999)


@pytest.mark.slow
@own_servers
async def test_an_export_that_fails_on_the_way_does_not_look_complete(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url) as client:
        # More than the buffers on the way hold.
        await imported(client, numbered(0, 400_000 // 2))
        async with client.stream("GET", EXPORT) as response:
            assert response.status_code == 200
            received = response.aiter_bytes()
            await anext(received)
            own_redis.kill()
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                async for _ in received:
                    pass


@pytest.mark.slow
async def test_changes_during_an_export(serve: Serve, counters_url: str) -> None:
    """Counters come and go, so Redis' table grows and shrinks. Then SCAN gives some keys twice."""
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await imported(client, numbered(0, 20_000))
        stop = asyncio.Event()

        async def churn() -> None:
            while not stop.is_set():
                await redis.mset({f"{{x{n}}}": 1 for n in range(5000)})
                await redis.delete(*(f"{{x{n}}}" for n in range(5000)))

        churning = asyncio.create_task(churn())
        seen: dict[str, int] = {}
        for _ in range(3):
            async with client.stream("GET", EXPORT) as response:
                seen = {
                    entry["name"]: entry["value"]
                    async for line in response.aiter_lines()
                    if (entry := json.loads(line))
                }
        stop.set()
        await churning
        assert {name: number for name, number in seen.items() if name[0] == "n"} == {f"n{n}": n for n in range(20_000)}


async def test_an_export_from_memory_lets_others_have_their_turn() -> None:
    """Even if the client is so fast that the export never waits."""
    counters = SortedCounters(time.monotonic, lambda _: None)
    for number in range(10_000):
        counters.put(f"n{number}", number, ttl=None)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    working = asyncio.create_task(others())
    batches = [batch async for batch in MemoryTransferStore(counters, time.monotonic).export("")]
    working.cancel()
    assert [entry.name for batch in batches for entry in batch] == sorted(f"n{n}" for n in range(10_000))
    assert turns >= len(batches) >= 20


async def test_bad_requests(client: httpx.AsyncClient) -> None:
    for path in (f"{IMPORT}?x=1", f"{IMPORT}?prefix=a"):
        assert problem(await client.post(path, content=b"")) == (422, "validation")
    for query in ("x=1", "prefix=*", "prefix=_", "prefix=a%00"):
        assert problem(await client.get(f"{EXPORT}?{query}")) == (422, "validation")
    assert problem(await client.post(EXPORT)) == (405, "method-not-allowed")
    assert problem(await client.get(IMPORT)) == (405, "method-not-allowed")
    assert problem(await client.post(IMPORT, headers={"Idempotency-Key": "a b"})) == (422, "validation")


async def test_without_redis(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "FIRST_PAUSE", 0.01)
    async with serve(redis_url=f"redis://127.0.0.1:{free_port()}/0") as client:
        assert problem(await client.get(EXPORT)) == (503, "unavailable")
        assert await refused(client, numbered(0, 1)) == {"status": 503, "slug": "unavailable", "applied": 0}


@pytest.mark.slow
async def test_any_number_of_counters_in_constant_memory(serve: Serve) -> None:
    """Client and replica share this process, so both have to stream."""

    async def body() -> AsyncIterator[bytes]:
        for begin in range(0, 20_000, 500):
            yield ndjson(*({"name": str(n).rjust(128, "x"), "value": n} for n in range(begin, begin + 500)))

    async with serve() as client:
        await imported(client, numbered(0, 1000))
        await client.delete("/v1/counters/n0")
        tracemalloc.start()
        try:
            assert await imported(client, body()) == 20_000
            count = 0
            async with client.stream("GET", EXPORT) as response:
                async for _ in response.aiter_lines():
                    count += 1
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert count == 20_000 + 999
    assert peak < 2.5 * 2**20  # the body has 3 MB, and twice as much when it is parsed
