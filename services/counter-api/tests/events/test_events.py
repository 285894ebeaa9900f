"""Server-sent events: every client gets the latest value in the end, whatever happens in between."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from redis.asyncio import Redis
from tests.support.counters_redis import own_servers
from tests.support.problems import problem
from tests.support.proxy import proxied
from tests.support.serving import Serve

from counter_api.events import feed as feed_module
from counter_api.events import server_watch, stream
from evenkeel.http import event_streams
from stack.layout import free_port

pytestmark = pytest.mark.anyio

Message = dict[str, str]


class Events:
    """What comes on one stream."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        self._lines = response.aiter_lines()
        self.comments: list[str] = []
        self.retry: list[int] = []

    async def next(self, seconds: float = 5) -> Message:
        """The next message; StopAsyncIteration at the end of the stream, TimeoutError if nothing comes."""
        fields: Message = {}
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                if line.startswith(":"):
                    self.comments.append(line)
                elif line.startswith("retry: "):
                    self.retry.append(int(line.removeprefix("retry: ")))
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    return fields
        raise StopAsyncIteration

    async def value(self, wanted: int | None) -> list[int | None]:
        """The values until the wanted one comes; None for a deletion."""
        values: list[int | None] = []
        while wanted not in values[-1:]:
            values.append(_value(await self.next()))
        return values

    async def silence(self, seconds: float = 0.5) -> None:
        """Fail if a message comes. After this, nothing can be read."""
        with pytest.raises(TimeoutError):
            await self.next(seconds)


def _value(message: Message) -> int | None:
    data = json.loads(message["data"])
    assert data["name"] == "a"
    if message["event"] == "deleted":
        assert (message["id"], data) == ("deleted", {"name": "a"})
        return None
    assert (message["event"], message["id"]) == ("value", str(data["value"]))
    value: int = data["value"]
    return value


@asynccontextmanager
async def listening(client: httpx.AsyncClient, last_event_id: str | None = None) -> AsyncIterator[Events]:
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    async with client.stream("GET", "/v1/counters/a/events", headers=headers) as response:
        assert response.status_code == 200
        yield Events(response)


async def set_to(client: httpx.AsyncClient, value: int) -> None:
    assert (await client.put("/v1/counters/a", json={"value": value})).is_success


async def test_a_stream_begins_with_the_present_value(client: httpx.AsyncClient) -> None:
    await set_to(client, 2**63 - 1)
    async with listening(client) as events:
        assert await events.next() == {
            "id": "9223372036854775807",
            "event": "value",
            "data": '{"name":"a","value":9223372036854775807}',
        }
        assert len(events.retry) == 1


async def test_every_kind_of_change_is_told(client: httpx.AsyncClient) -> None:
    await set_to(client, 1)
    async with listening(client) as events:
        assert await events.value(1) == [1]
        await client.post("/v1/counters/a/increment")
        assert await events.value(2) == [2]
        await set_to(client, -7)
        assert await events.value(-7) == [-7]
        await client.post("/v1/counters:batch", json={"operations": [{"name": "a", "by": 8}, {"name": "b"}]})
        assert await events.value(1) == [1]
        await client.post(
            "/v1/counters:import",
            content=b'{"name":"a","value":3}\n',
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert await events.value(3) == [3]
        assert (await client.delete("/v1/counters/a")).status_code == 204
        assert await events.next() == {"id": "deleted", "event": "deleted", "data": '{"name":"a"}'}
        await client.post("/v1/counters/a/increment", json={"ttl": 1})
        assert await events.value(None) == [1, None]


async def test_who_comes_is_told_what_is_now_not_what_others_were_told(client: httpx.AsyncClient) -> None:
    async with listening(client) as earlier:
        for value in range(1, 6):
            await set_to(client, value)
            async with listening(client) as events:
                assert _value(await events.next()) == value
        await earlier.value(5)


async def test_a_counter_that_does_not_exist_is_waited_for(client: httpx.AsyncClient) -> None:
    async with listening(client) as events:
        waiting = asyncio.create_task(events.next())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await client.post("/v1/counters/a/increment")
        assert _value(await waiting) == 1


@pytest.mark.parametrize("state", [5, None])
async def test_who_comes_back_is_told_only_what_is_new(client: httpx.AsyncClient, state: int | None) -> None:
    if state is not None:
        await set_to(client, state)
    current = "deleted" if state is None else str(state)
    async with listening(client, last_event_id=current) as events:
        await events.silence()
    async with listening(client, last_event_id="4") as events:
        assert await events.value(state) == [state]
    async with listening(client, last_event_id=current) as events:
        await set_to(client, 6)
        assert await events.value(6) == [6]


async def test_changes_through_any_replica_and_by_anyone(serve: Serve, counters_url: str) -> None:
    async with (
        serve(replica_name="one") as one,
        serve(replica_name="two") as two,
        Redis.from_url(counters_url) as redis,
        listening(one) as first,
        listening(two) as second,
    ):
        for client, value in ((one, 1), (two, 2), (one, 3)):
            await client.post("/v1/counters/a/increment")
            assert (await first.value(value), await second.value(value)) == ([value], [value])
        await redis.incrby("{a}", 10)
        assert (await first.value(13), await second.value(13)) == ([13], [13])
        await redis.flushdb()
        assert (await first.value(None), await second.value(None)) == ([None], [None])
        await redis.set("{a}", "4")
        assert (await first.value(4), await second.value(4)) == ([4], [4])
        await redis.pexpire("{a}", 50)
        assert (await first.value(None), await second.value(None)) == ([None], [None])
        await redis.rpush("{a}", "no counter any more")
        await redis.delete("{a}")
        await redis.set("{a}", "5")
        assert (await first.value(5), await second.value(5)) == ([5], [5])


async def test_a_counter_that_changes_all_the_time_is_read_ten_times_a_second(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis, listening(client) as events:
        # The replica's reads at its start do not count.
        assert (await client.get("/v1/counters")).json() == {"data": []}
        before = (await redis.info("commandstats"))["cmdstat_get"]["calls"]
        stop = time.monotonic() + 1
        last = 0
        while time.monotonic() < stop:
            last = await redis.incr("{a}")
        reads = (await redis.info("commandstats"))["cmdstat_get"]["calls"] - before
        assert 3 <= reads <= 11
        assert last > 5 * reads
        await events.value(last)


async def test_at_most_ten_messages_a_second_and_the_last_value_always(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_watch, "READ_PAUSE", 0)
    async with serve(replica_name="one") as one, serve(replica_name="two") as two, listening(one) as events:
        stop = time.monotonic() + 2
        last = 0

        async def count(client: httpx.AsyncClient) -> None:
            nonlocal last
            while time.monotonic() < stop:
                value = (await client.post("/v1/counters/a/increment")).json()["value"]
                last = max(last, value)

        arrived: list[tuple[float, int | None]] = []

        async def listen() -> None:
            while True:
                arrived.append((time.monotonic(), _value(await events.next())))

        listener = asyncio.create_task(listen())
        await asyncio.gather(*(count(client) for client in (one, two, one, two)))
        async with asyncio.timeout(30):
            while arrived[-1][1] != last:  # noqa: ASYNC110 (what comes over the wire)
                await asyncio.sleep(0.01)
        listener.cancel()
    values = [value for _, value in arrived]
    assert values == sorted(set(values), key=lambda value: value or 0)
    assert last > 20
    in_a_second = max(sum(begin <= at < begin + 1 for at, _ in arrived) for begin, _ in arrived)
    assert 2 <= in_a_second <= 11  # they are timed on arrival, and not when they are sent


async def watchers(redis: Redis) -> list[dict[str, str]]:
    return [client for client in await redis.client_list() if "t" in client["flags"]]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(100):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("still not so after 5 s")


async def test_many_clients_cost_one_watch_and_none_cost_nothing(serve: Serve, counters_url: str) -> None:
    async def nobody_watches() -> bool:
        return not await watchers(redis)

    async with serve() as client, Redis.from_url(counters_url) as redis:
        assert await nobody_watches()
        async with AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(listening(client)) for _ in range(30)]
            assert len(await watchers(redis)) == 1
            before = (await redis.info("commandstats"))["cmdstat_get"]["calls"]
            for value in (1, 2, 3):
                await redis.set("{a}", value)
                for events in streams:
                    assert await events.value(value) == [value]
            assert (await redis.info("commandstats"))["cmdstat_get"]["calls"] - before <= 6
        await until(nobody_watches)


async def test_a_slow_client_delays_no_other_and_never_grows_memory(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    def huge(name: str, value: int | None) -> str:
        nonlocal made
        made += 1
        return f": {'x' * 2**20}\n{message(name, value)}"

    message = stream.message
    monkeypatch.setattr(stream, "PAUSE", 0)
    monkeypatch.setattr(server_watch, "READ_PAUSE", 0)
    async with serve() as client:
        address = urlsplit(str(client.base_url))
        async with listening(client) as events:
            monkeypatch.setattr(stream, "message", huge)
            # Reads nothing beyond a first buffer.
            reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1024)
            writer.write(b"GET /v1/counters/a/events HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"retry: ")
            monkeypatch.setattr(stream, "message", huge)
            for value in range(1, 101):
                await set_to(client, value)
                await events.value(value)
            for_the_slow_one = made - 100
            assert for_the_slow_one < 30  # what fits into the kernel's buffers
            # When it reads on, it gets the latest value.
            rest = b""
            async with asyncio.timeout(20):
                while b'"value":100}' not in rest:
                    rest = rest[-1000:] + await reader.read(2**20)
            writer.close()


async def test_a_killed_connection_to_redis_is_made_again(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis, listening(client) as events:
        for value in (1, 2, 3):
            [watcher] = await watchers(redis)
            await redis.client_kill_filter(_id=watcher["id"])
            await redis.set("{a}", value)  # before there can be another connection
            assert await events.value(value) == [value]


@own_servers
async def test_redis_killed_and_started_again(serve: Serve, own_redis: Any) -> None:
    await anyio.to_thread.run_sync(own_redis.start)
    async with serve(redis_url=own_redis.url) as client, listening(client) as events:
        await set_to(client, 1)
        assert await events.value(1) == [1]
        own_redis.kill()
        await asyncio.sleep(0.5)
        await anyio.to_thread.run_sync(own_redis.start)
        async with Redis.from_url(own_redis.url) as redis:
            await redis.incr("{a}")
        assert await events.value(2) == [2]


async def test_a_connection_that_is_dead_without_a_word_is_found(
    serve: Serve, counters_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_watch, "ANSWER_WITHIN", 0.6)
    monkeypatch.setattr(server_watch, "PING_INTERVAL", 0.1)
    async with (
        proxied(counters_url, free_port()) as proxy,
        Redis.from_url(counters_url) as redis,
    ):
        await proxy.open()
        async with serve(redis_url=proxy.url) as client, listening(client) as events:
            await redis.set("{a}", 1)
            assert await events.value(1) == [1]
            proxy.swallow("to client", mark=b"TRACKING")
            await redis.set("{a}", 2)
            await asyncio.sleep(1.2)
            # If the watch had kept that connection, it would work again now, but the push would be lost.
            proxy._swallows.clear()
            assert await events.value(2) == [2]


async def test_without_redis_a_stream_does_not_begin(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_watch, "ANSWER_WITHIN", 0.2)
    async with serve(redis_url=f"redis://127.0.0.1:{free_port()}/0") as client:
        response = await client.get("/v1/counters/a/events")
        assert problem(response) == (503, "unavailable")
        assert response.headers["Retry-After"] == "1"


async def test_another_programs_data_is_no_stream(serve: Serve, counters_url: str) -> None:
    async with serve() as client, Redis.from_url(counters_url) as redis:
        await redis.rpush("{list}", "x")
        await redis.set("{text}", "x")
        for name in ("list", "text"):
            assert problem(await client.get(f"/v1/counters/{name}/events")) == (409, "not-a-counter")


async def test_a_replica_bounds_its_streams(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "LARGEST", 2)
    async with serve() as client:
        for _ in range(2):
            async with listening(client), listening(client):
                assert problem(await client.get("/v1/counters/b/events")) == (503, "unavailable")
            await asyncio.sleep(0.1)


async def test_a_heartbeat_shows_that_the_connection_lives(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 0.1)
    async with listening(client) as events:
        await events.silence(1)
        assert 3 <= len(events.comments) <= 10


async def test_a_stream_ends_in_good_order_when_its_time_is_over(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the gateway would close it, and even if there are always messages to send."""
    monkeypatch.setattr(event_streams, "LIFETIME", (1.0, 1.2))
    began = time.monotonic()
    async with listening(client) as events, asyncio.timeout(10):
        while len(events.retry) < 2:  # one at the beginning, one at the end
            await client.post("/v1/counters/a/increment")
            with contextlib.suppress(StopAsyncIteration):
                await events.next()
    assert time.monotonic() - began >= 1


async def test_streams_end_with_their_replica(serve: Serve) -> None:
    """Promptly: uvicorn would wait ten seconds for them, and this test's server for ever."""
    async with httpx.AsyncClient() as outside:
        for store in ("redis", "memory"):
            async with serve(store=store) as client:
                request = outside.build_request("GET", f"{client.base_url}/v1/counters/a/events")
                response = await outside.send(request, stream=True)
                began = time.monotonic()
            assert time.monotonic() - began < 1
            events = Events(response)
            with pytest.raises(StopAsyncIteration):
                await events.next()
            # The times of coming back differ.
            assert len(events.retry) == 2


async def test_bad_input(client: httpx.AsyncClient) -> None:
    assert problem(await client.get("/v1/counters/_a/events")) == (422, "validation")
    assert problem(await client.get("/v1/counters/a/events?x=1")) == (422, "validation")
    response = await client.head("/v1/counters/a/events")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    async with listening(client, last_event_id="no id of ours") as events:
        await events.value(None)
