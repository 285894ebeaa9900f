"""Connections on which Redis pushes invalidations."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from evenkeel.redis.connecting import connect
from evenkeel.redis.push import Invalidated, pushing
from evenkeel.redis.single_server import new_connection

pytestmark = pytest.mark.anyio


async def test_a_push_comes_before_the_replies_that_follow_the_change(cache_url: str) -> None:
    async with (
        connect(cache_url, name="writer") as writer,
        pushing(new_connection(cache_url, name="watcher")) as connection,
    ):
        await writer.set("watched", 1)
        await connection.track()
        await connection.send([("GET", "watched")])
        assert await connection.receive() == b"1"

        await writer.set("watched", 2)
        await connection.send([("GET", "watched"), ("PING",)])
        assert [await connection.receive() for _ in range(3)] == [Invalidated([b"watched"]), b"2", b"PONG"]

        await writer.flushdb()
        assert await connection.receive() == Invalidated(None)


async def test_an_error_reply_is_raised_and_the_connection_goes_on(cache_url: str) -> None:
    async with pushing(new_connection(cache_url, name="watcher")) as connection:
        await connection.track("BCAST")
        await connection.send([("NOSUCHCOMMAND",), ("PING",)])
        with pytest.raises(ResponseError, match="unknown command"):
            await connection.receive()
        assert await connection.receive() == b"PONG"


async def test_a_closed_connection_is_not_made_again_without_tracking(cache_url: str) -> None:
    """Else pushes would be missed without anyone noticing."""
    connection = new_connection(cache_url, name="watcher")
    async with pushing(connection) as watcher:
        await watcher.track()
        await connection.disconnect(nowait=True)
        with pytest.raises(ConnectionError):
            await watcher.send([("PING",)])


async def test_the_connection_ends_with_the_block(cache_url: str) -> None:
    async with connect(cache_url, name="writer") as client:
        async with pushing(new_connection(cache_url, name="watcher")):
            assert "watcher" in await _names(client)
        async with asyncio.timeout(5):
            while "watcher" in await _names(client):  # noqa: ASYNC110 (there is no event)
                await asyncio.sleep(0.02)


async def _names(client: Redis) -> set[str]:
    return {each["name"] for each in await client.client_list()}
