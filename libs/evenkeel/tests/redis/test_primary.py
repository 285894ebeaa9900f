"""Clients that find their server themselves: all connections lead to one server, and in time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as NoAnswer
from tests.support.cache_servers import cache_server
from tests.support.counters_redis import PASSWORD, CountersServer
from tests.support.fake_redis import fake_redis, sentinel_naming

from evenkeel.redis import connect_to_primary
from evenkeel.redis.primary import way_of

pytestmark = pytest.mark.anyio


class FakeSentinel:
    """Names whichever server it is told to."""

    def __init__(self) -> None:
        self.named = 0
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeSentinel"]:
        async with fake_redis(sentinel_naming(lambda: self.named)) as self.port:
            yield self


@pytest.fixture
async def sentinel() -> AsyncIterator[FakeSentinel]:
    async with FakeSentinel().running() as running:
        yield running


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[list[CountersServer]]:
    async with cache_server(tmp_path, "one") as one, cache_server(tmp_path, "two") as two:
        for server in (one, two):
            async with server.client() as client:
                await client.set("which", server.port)
        yield [one, two]


@asynccontextmanager
async def client_by(*sentinels: int) -> AsyncIterator[Redis]:
    addresses = ",".join(f"127.0.0.1:{port}" for port in sentinels)
    client = connect_to_primary(
        f"redis+sentinel://:{PASSWORD}@{addresses}/service", slot_of="{test}", name="test", timeout=0.5
    )
    try:
        yield client
    finally:
        await client.aclose()


async def which(client: Redis) -> int:
    return int(await client.get("which") or 0)


async def test_a_connection_to_another_server_ends_all_others(
    sentinel: FakeSentinel, servers: list[CountersServer]
) -> None:
    """Also one that is no longer the pool's business, as the one is that hears pushes."""
    one, two = servers
    sentinel.named = one.port
    async with client_by(sentinel.port) as client:
        apart = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has not typed it
        await apart.connect()
        held = client.client()
        assert [await which(held), await which(client)] == [one.port] * 2
        sentinel.named = two.port  # and the one goes on as a primary
        assert [await which(client), await which(held)] == [one.port] * 2
        another = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # as above
        await another.connect()
        assert not apart.is_connected
        assert [await which(client), await which(held)] == [two.port] * 2
        await held.aclose()
        await another.disconnect()


async def test_a_connection_that_is_being_made_again_is_let_be(
    sentinel: FakeSentinel, servers: list[CountersServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentinel.named = servers[0].port
    async with client_by(sentinel.port) as client:
        one, other = (client.connection_pool.make_connection() for _ in range(2))  # type: ignore[no-untyped-call]  # as above
        await one.connect()
        await one.disconnect()
        way = way_of(client)
        assert way is not None
        confirm, go = way._topology.confirm, asyncio.Event()

        async def confirm_slowly(connection: AbstractConnection) -> None:
            if connection is one:
                await go.wait()
            await confirm(connection)

        monkeypatch.setattr(way._topology, "confirm", confirm_slowly)
        made = asyncio.create_task(one.connect())
        while not one.is_connected:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.001)
        writer = one._writer
        await other.connect()
        go.set()
        await made
        assert one._writer is writer
        await one.disconnect()
        await other.disconnect()


async def test_a_connection_that_is_closed_under_a_command_is_an_error_of_redis(
    sentinel: FakeSentinel, servers: list[CountersServer]
) -> None:
    """redis-py has an AttributeError for it, which ends whoever expects RedisError."""
    sentinel.named = servers[0].port
    async with client_by(sentinel.port) as client:
        connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # as above
        await connection.connect()
        sending = asyncio.create_task(connection.send_command("PING"))
        await asyncio.sleep(0)
        await connection.disconnect(nowait=True)
        with pytest.raises(NotConnected):
            await sending


async def test_a_server_that_takes_no_writes_is_left_at_once(
    sentinel: FakeSentinel, servers: list[CountersServer]
) -> None:
    one, two = servers
    sentinel.named = one.port
    async with client_by(sentinel.port) as client, one.client() as hand:
        script = client.register_script("return redis.call('INCR', KEYS[1])")
        held = client.client()
        assert await which(held) == one.port
        assert await script(["{test}"]) == 1
        await hand.replicaof("127.0.0.1", str(two.port))
        sentinel.named = two.port
        with pytest.raises(ReadOnlyError):
            await script(["{test}"])
        # Nothing was sent twice, and two has not had the script before.
        assert await script(["{test}"]) == 1
        assert await which(held) == two.port
        await held.aclose()


async def test_a_sentinel_that_names_a_replica_is_not_believed(
    sentinel: FakeSentinel, servers: list[CountersServer]
) -> None:
    one, two = servers
    async with one.client() as hand:
        await hand.replicaof("127.0.0.1", str(two.port))
    sentinel.named = one.port
    async with FakeSentinel().running() as right, client_by(sentinel.port, right.port) as client:
        right.named = two.port
        with pytest.raises(NotConnected, match=f"127.0.0.1:{one.port} is not the primary yet"):
            await which(client)
        assert await which(client) == two.port


async def test_silent_sentinels_cost_no_more_than_the_time_limit(
    sentinel: FakeSentinel, servers: list[CountersServer]
) -> None:
    """Which is spent on the first one, so that the next attempt begins with the next one."""
    sentinel.named = servers[0].port

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with silent, client_by(silent.sockets[0].getsockname()[1], sentinel.port) as client:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="no primary was found in time"):
            await which(client)
        assert 0.4 < time.monotonic() - began < 5
        assert await which(client) == servers[0].port


async def test_nobody_leads_anywhere(sentinel: FakeSentinel) -> None:
    sentinel.named = 1
    async with client_by(1, sentinel.port) as client:
        for _ in range(3):
            with pytest.raises(RedisError):
                await which(client)
