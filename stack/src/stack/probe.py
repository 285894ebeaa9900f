"""Whether a data server answers: one question over a fresh connection.

It imports the clients of PostgreSQL and Redis, which takes longer than everything else that a command imports.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from stack.http_probe import TIMEOUT

NO_ANSWER = (OSError, TimeoutError, RedisError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def redis_pings(port: int, password: str) -> bool:
    """Whether the server has loaded its data and accepts the password."""
    try:
        async with _redis(password, port=port) as client:
            return bool(await client.ping())
    except NO_ANSWER:
        return False


async def redis_info(port: int, password: str, section: str) -> dict[str, Any]:
    """The section of INFO; empty without an answer."""
    try:
        async with _redis(password, port=port) as client:
            return dict(await client.info(section))
    except NO_ANSWER:
        return {}


async def redis_replicates(unix_socket: Path, password: str) -> bool:
    """Whether the server is a replica that has its primary's data and gets every change of it."""
    try:
        async with _redis(password, unix_socket=unix_socket) as client:
            role = await client.role()  # of a replica: slave, host and port of the primary, state of the link, offset
            return role[0] == "slave" and bool(role[3] == "connected")
    except NO_ANSWER:
        return False


async def postgres_answers(url: str) -> bool:
    """Whether the server accepts sessions. While it starts up, or shuts down, it refuses them."""
    try:
        async with asyncio.timeout(TIMEOUT):
            connection = await asyncpg.connect(url, ssl=False)
            await connection.close()
            return True
    except asyncpg.TooManyConnectionsError:
        return True  # it works, for other clients
    except NO_ANSWER:
        return False


async def accepts_connections(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()
            return True
    except (OSError, TimeoutError):
        return False


@asynccontextmanager
async def _redis(password: str, *, port: int = 0, unix_socket: Path | None = None) -> AsyncIterator[Redis]:
    """A client with one connection. It sends its command once, and before it only the password."""
    client = Redis(
        host="127.0.0.1",
        port=port,
        unix_socket_path=str(unix_socket) if unix_socket else None,
        password=password,
        protocol=2,
        decode_responses=True,
        driver_info=None,
        retry=Retry(NoBackoff(), 0),
    )
    async with asyncio.timeout(TIMEOUT), client:
        yield client
