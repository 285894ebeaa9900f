"""Redis is gone, frozen, full, read-only or cut off in the middle of a reply."""

import asyncio
import signal
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client import Counter
from redis.asyncio import Redis
from tests.support.counters_redis import own_servers
from tests.support.counting import counting
from tests.support.fake_redis import GREETING, fake_redis
from tests.support.lossy_proxy import LossyProxy
from tests.support.proxy import proxied
from tests.support.serving import Serve, until_ready

from counter_api.redis.calls import Call, SingleCall
from counter_api.redis.failures import MOST_REQUEST_IDS, Failures
from evenkeel.redis.single_server import SingleServer
from stack.layout import free_port

pytestmark = pytest.mark.anyio

REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/counters/a/increment", None),
    ("GET", "/v1/counters/a", None),
    ("PUT", "/v1/counters/a", {"value": 1}),
    ("DELETE", "/v1/counters/a", None),
    ("GET", "/v1/counters", None),
    ("POST", "/v1/counters:batch", {"operations": [{"name": "a"}, {"name": "b"}]}),
    ("GET", "/counter", None),
    ("GET", "/stats", None),
]


def unavailable(response: httpx.Response) -> str:
    """The sentence of a 503."""
    assert response.status_code == 503, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Retry-After"] == "1"
    document = response.json()
    assert document == {
        "type": "urn:evenkeel:problem:unavailable",
        "title": "The service cannot answer now",
        "status": 503,
        "detail": document["detail"],
    }
    detail: str = document["detail"]
    return detail


async def value(client: httpx.AsyncClient, **request: Any) -> int:
    response = await client.post("/v1/counters/a/increment", **request)
    assert response.status_code == 200, response.text
    number: int = response.json()["value"]
    return number


async def test_without_redis_every_request_gets_its_own_error(serve: Serve) -> None:
    async with serve(redis_url=f"redis://127.0.0.1:{free_port()}/0") as client:
        for method, path, body in REQUESTS:
            detail = unavailable(await client.request(method, path, json=body))
            assert detail.startswith("Redis cannot be reached, so nothing was changed: "), (method, path)
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.put("/v1/counters/a", json={})).status_code == 422
        assert (await client.get("/livez")).json() == {"status": "alive"}
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["type"]) == (503, "urn:evenkeel:problem:not-ready")
        assert "Redis cannot be reached" in ready.json()["checks"]["redis"]


@own_servers
async def test_redis_may_come_after_the_replica(serve: Serve, own_redis: Any) -> None:
    async with serve(redis_url=own_redis.url) as client:
        assert (await client.get("/readyz")).status_code == 503
        unavailable(await client.get("/counter"))
        await anyio.to_thread.run_sync(own_redis.start)
        await until_ready(client)
        assert (await client.get("/counter")).json() == {"current_count": 1}
        # The first visit did not reach Redis, so /stats counts it later.
        assert (await client.get("/stats")).json() == {"total_requests": 3, "replicas": {"replica-a": 3}}


@own_servers
async def test_redis_killed_and_started_again_keeps_every_count(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url, patience=0.5) as client:
        answered = [await value(client) for _ in range(20)]
        own_redis.kill()
        unavailable(await client.post("/v1/counters/a/increment"))
        await anyio.to_thread.run_sync(own_redis.start)
        await until_ready(client)
        # The scripts are gone with the process. The counts are not.
        operations = [{"name": "a"}, {"name": "a"}, {"name": "b"}]
        batch = await client.post("/v1/counters:batch", json={"operations": operations})
        assert [result["value"] for result in batch.json()["results"]] == [21, 22, 1]
        assert answered == list(range(1, 21))


async def test_redis_killed_and_back_within_the_patience_fails_no_request(serve: Serve, counters_url: str) -> None:
    async with proxied(counters_url, free_port()) as proxy, serve(redis_url=proxy.url, patience=60) as client:
        await proxy.open()
        for method, path, body in REQUESTS:
            await client.request(method, path, json=body)
        await client.put("/v1/counters/a", json={"value": 0})
        await proxy.cut()
        waiting = [
            asyncio.create_task(value(client, headers=headers)) for headers in ({}, {"Idempotency-Key": "k"}) * 5
        ]
        reading = asyncio.create_task(client.get("/v1/counters/a"))
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in (*waiting, reading))
        await proxy.open()
        values = await asyncio.gather(*waiting)
        assert sorted(set(values)) == list(range(1, 7)), "five without a key, and one for the key"
        assert (await reading).status_code == 200


@own_servers
async def test_redis_killed_under_load_loses_nothing_it_has_confirmed(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url) as client, counting(client):
        for _ in range(2):
            await asyncio.sleep(0.5)
            own_redis.kill()
            await anyio.to_thread.run_sync(own_redis.start)
        await asyncio.sleep(0.5)


@own_servers
async def test_what_is_said_of_a_change_while_redis_is_frozen_is_true(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    key = {"Idempotency-Key": "k"}
    async with serve(redis_url=own_redis.url, patience=2) as client:
        assert await value(client) == 1
        own_redis.process.send_signal(signal.SIGSTOP)
        try:
            detail = unavailable(await client.post("/v1/counters/a/increment", headers=key))
            assert "answer" in (await client.get("/readyz")).json()["checks"]["redis"]
        finally:
            own_redis.process.send_signal(signal.SIGCONT)
        await until_ready(client)
        # It was never sent if the count of requests was on its way alone: then no connection could be made any more.
        if not detail.startswith("Redis did not answer, so whether this was applied is unknown: "):
            assert "so nothing was changed: " in detail
            assert (await client.get("/v1/counters/a")).json()["value"] == 1
        assert await value(client, headers=key) == 2
        assert await value(client, headers=key) == 2
        assert await value(client) == 3


@own_servers
async def test_a_short_silence_fails_no_read_and_no_change(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    # Longer than any silence of a busy machine, so that only this one is measured.
    async with serve(redis_url=own_redis.url, patience=60) as client:
        assert await value(client) == 1
        own_redis.process.send_signal(signal.SIGSTOP)
        try:
            read = asyncio.create_task(client.get("/v1/counters/a"))
            listed = asyncio.create_task(client.get("/v1/counters"))
            changed = asyncio.create_task(client.post("/v1/counters/b/increment"))
            _, waiting = await asyncio.wait({read, listed, changed}, timeout=3)
            assert waiting == {read, listed, changed}
        finally:
            own_redis.process.send_signal(signal.SIGCONT)
        assert (await read).json() == {"name": "a", "value": 1}
        assert (await listed).status_code == (await changed).status_code == 200


@own_servers
async def test_what_cannot_wait_is_refused_at_once(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url, max_waiting=20, patience=60) as client:
        assert await value(client) == 1
        own_redis.process.send_signal(signal.SIGSTOP)
        try:
            waiting = [asyncio.create_task(client.post("/v1/counters/a/increment")) for _ in range(60)]
            async with asyncio.timeout(30):
                while len(done := [task for task in waiting if task.done()]) < 20:  # noqa: ASYNC110 (no event)
                    await asyncio.sleep(0.02)
            assert len(done) < 60
            for task in done:
                assert unavailable(task.result()) == (
                    "Too many operations are waiting for Redis, so nothing was changed."
                )
        finally:
            own_redis.process.send_signal(signal.SIGCONT)
        answers = await asyncio.gather(*waiting)
        counted = sorted(answer.json()["value"] for answer in answers if answer.status_code == 200)
        assert counted == [*range(2, len(counted) + 2)]
        assert {answer.status_code for answer in answers} == {200, 503}


@own_servers
async def test_a_full_redis_refuses_before_it_writes(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url) as client, Redis.from_url(own_redis.url) as redis:
        assert await value(client) == 1
        await redis.config_set("maxmemory", "1")
        detail = unavailable(await client.post("/v1/counters/a/increment", headers={"Idempotency-Key": "k"}))
        assert detail.startswith("Redis refused, so nothing was changed: OOM ")
        batch = await client.post("/v1/counters:batch", json={"operations": [{"name": "a"}, {"name": "b"}]})
        assert unavailable(batch).startswith("Redis refused, so nothing was changed: OOM ")
        assert (await client.get("/v1/counters/a")).json() == {"name": "a", "value": 1}
        # Deleting frees memory.
        assert (await client.delete("/v1/counters/a")).status_code == 204
        await redis.config_set("maxmemory", "0")
        assert await value(client, headers={"Idempotency-Key": "k"}) == 1


@own_servers
async def test_a_read_only_replica_refuses(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url) as client, Redis.from_url(own_redis.url) as redis:
        assert await value(client) == 1
        assert (await client.get("/v1/counters")).status_code == 200
        await redis.replicaof("127.0.0.1", str(free_port()))
        for method, path, body in REQUESTS:
            response = await client.request(method, path, json=body)
            if method == "GET" and path.startswith("/v1"):
                assert response.status_code == 200
            else:
                assert unavailable(response).startswith("Redis refused, so nothing was changed: READONLY ")
        await redis.replicaof("NO", "ONE")
        assert await value(client) == 2


async def test_another_programs_data_is_left_alone(serve: Serve, counters_url: str) -> None:
    foreign = ["1.5", "007", "-0", "+1", "", " 1", "1 ", "x", "9223372036854775808", "-9223372036854775809", "1" * 400]
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await redis.rpush("{list}", "x")
        for place, text in enumerate(foreign):
            await redis.set(f"{{n{place}}}", text)
        for name in ["list", *(f"n{place}" for place in range(len(foreign)))]:
            path = f"/v1/counters/{name}"
            for method, rest, body in (
                ("POST", "/increment", None),
                ("GET", "", None),
                ("PUT", "", {"value": 1}),
                ("DELETE", "", None),
            ):
                response = await client.request(method, path + rest, json=body)
                assert (response.status_code, response.json()) == (
                    409,
                    {
                        "type": "urn:evenkeel:problem:not-a-counter",
                        "title": "What is stored there is no counter",
                        "status": 409,
                        "detail": "The counter's key holds data that is not a signed 64-bit integer; "
                        "nothing was changed.",
                    },
                ), (method, name)
        assert await value(client) == 1
        assert (await client.get("/v1/counters")).json() == {"data": [{"name": "a", "value": 1}]}
        assert [await redis.get(f"{{n{place}}}") for place in range(len(foreign))] == [t.encode() for t in foreign]


async def test_a_lost_reply_is_never_counted_twice(serve: Serve, counters_url: str) -> None:
    """redis-py's default would send it again, up to ten times."""
    key = {"Idempotency-Key": "k"}
    async with LossyProxy(counters_url).running() as proxy, serve(redis_url=proxy.url, patience=0.5) as client:
        assert await value(client) == 1
        # After its start, since its first commands would meet the proxy too.
        assert (await client.get("/v1/counters")).status_code == 200
        proxy.lose_next()
        assert await value(client) == 2
        assert (await client.get("/v1/counters/a")).json() == {"name": "a", "value": 2}
        proxy.loses = lambda: True
        detail = unavailable(await client.post("/v1/counters/a/increment", headers=key))
        assert detail.startswith("Redis did not answer, so whether this was applied is unknown: ")
        proxy.loses = lambda: False
        retried = await client.post("/v1/counters/a/increment", headers=key)
        assert (retried.json(), retried.headers["Idempotency-Replayed"]) == ({"name": "a", "value": 3}, "true")


async def test_a_loading_redis_is_unavailable(serve: Serve) -> None:
    def loading(command: list[bytes]) -> bytes:
        return GREETING.get(command[0].upper(), b"-LOADING Redis is loading the dataset in memory\r\n")

    async with fake_redis(loading) as port, serve(redis_url=f"redis://127.0.0.1:{port}/0") as client:
        for method, path, body in REQUESTS:
            detail = unavailable(await client.request(method, path, json=body))
            assert "Redis is loading the dataset in memory" in detail


@own_servers
async def test_the_log_names_the_requests_that_a_failure_concerns(
    serve: Serve, own_redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(redis_url=own_redis.url) as client:
        for path in ("/v1/counters/a/increment", "/v1/counters:batch"):
            body = {"operations": [{"name": name} for name in "ab"]} if path.endswith("batch") else None
            answer = await client.post(path, json=body, headers={"X-Request-Id": f"one-{path[-5:]}"})
            assert answer.status_code == 503
    lines = [record.__dict__["request_ids"] for record in caplog.records if record.message == "Redis failed"]
    assert ["one-ement"] in lines
    assert ["one-batch"] in lines


async def test_a_line_of_the_log_does_not_name_all_requests_of_a_large_round_trip(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = Failures(SingleServer("redis://", name="test"), Counter("errors", "", ["reason"], registry=None))
    calls = [Call(("GET", "a"), request_id=b"%d" % number) for number in range(3 * MOST_REQUEST_IDS)]
    await failures.not_answered([SingleCall(call, changes=False) for call in calls], TimeoutError("late"))
    [line] = caplog.records
    assert line.__dict__["request_ids"] == [str(number) for number in range(MOST_REQUEST_IDS)]
    assert line.__dict__["calls"] == len(calls)
