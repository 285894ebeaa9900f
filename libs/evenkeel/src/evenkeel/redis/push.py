"""Connections on which Redis pushes invalidations: RESP3 and client-side caching.

https://redis.io/docs/latest/develop/reference/client-side-caching/ describes the feature. redis-py offers it to its
synchronous client only. This is the one module that reaches into redis-py's parser for it.
"""

import contextlib
import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError


@dataclass(frozen=True, slots=True)
class Invalidated:
    """A push: these keys have changed, expired, or been evicted."""

    keys: list[bytes] | None
    """None: the whole database was flushed."""


class PushConnection:
    """One task may send while another one receives."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection: Any = connection  # redis-py has not typed the arguments of its methods

    async def track(self, *options: str | bytes) -> None:
        """Turn on CLIENT TRACKING with these options; raise RedisError, OSError or TimeoutError."""
        self._connection._parser.set_invalidation_push_handler(_unchanged)  # noqa: SLF001 (no public way)
        await self._connection.send_command("CLIENT", "TRACKING", "ON", *options)
        await self._connection.read_response()

    async def send(self, commands: Iterable[tuple[str | bytes | int, ...]]) -> None:
        """Send the commands in one piece, and wait for no reply."""
        # redis-py would connect anew, without tracking, to send on a connection that is closed.
        if not self._connection.is_connected:
            raise ConnectionError("the connection was closed")
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)

    async def receive(self) -> Any:
        """Wait, without a time limit, for the next reply or Invalidated; raise ResponseError for an error reply.

        They come in the order in which Redis sent them. A push precedes every reply to a command that Redis executed
        after the change.
        """
        message = await self._connection.read_response(disable_decoding=True, push_request=True, timeout=math.inf)
        return Invalidated(message[1]) if isinstance(message, list) and message[0] == b"invalidate" else message


@contextlib.asynccontextmanager
async def pushing(connection: AbstractConnection) -> AsyncIterator[PushConnection]:
    """Connect, unless it is connected, and disconnect when the block is left, without waiting for the server."""
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has not typed it
        yield PushConnection(connection)
    finally:
        with contextlib.suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)


async def _unchanged(message: Any) -> Any:
    return message
