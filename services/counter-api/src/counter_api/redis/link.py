"""One connection to one Redis server. A lost connection is made again before the next round trip, never during one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.connection import HiredisRespSerializer
from redis.exceptions import ResponseError

from counter_api.redis.calls import Argument
from evenkeel.redis.connecting import CONNECT_TIMEOUT
from evenkeel.redis.scripts import Script

CLOCK_EVERY = 30.0
"""Seconds after which Redis' clock is read again, since it drifts and may be set."""

REPLICATION_WAITS = (1, 2, 5, 10, 20, 50, 100, 1000)
"""Milliseconds. Each WAITAOF makes the replicas report how far they have written. A replica that has not written the
last command yet reports again only a second later. So there are several short waits instead of one long one."""

_pack: Callable[..., list[bytes]] = HiredisRespSerializer().pack
"""A command as bytes, in C. redis-py's asyncio connection does this in Python, which is most of a round trip's work."""


class Link:
    """For one task at a time."""

    def __init__(self, address: str, connect: Callable[[str], Awaitable[AbstractConnection]]) -> None:
        self.address = address
        self._connect = connect
        self._loaded: set[Script] = set()
        self._connection: AbstractConnection | None = None
        self._loop = asyncio.get_running_loop()
        self._clock_ahead = 0.0
        self._clock_asked = 0.0

    async def open(self) -> None:
        """Be connected. If this raises, nothing was sent."""
        # Unexpected bytes, or the end of the connection. What follows could be taken for replies.
        if self._connection is not None and await self._connection.can_read():
            await self.close()
        if self._connection is None:
            self._connection = await self._connect(self.address)
            # Redis may have been started again, or this may be another server.
            self._loaded.clear()
        if not self._clock_asked:
            # A server that is still loading its data says so here, before anything was sent.
            [pong] = await self.exchange([("PING",)], timeout=CONNECT_TIMEOUT)
            if isinstance(pong, ResponseError):
                await self.close()
                raise pong

    def redis_time(self, moment: float) -> int:
        """A moment of the event loop's clock in milliseconds of Redis' clock, or slightly earlier."""
        return int((moment + self._clock_ahead) * 1000)

    async def exchange(
        self,
        commands: Sequence[tuple[Argument, ...]],
        *,
        scripts: Iterable[Script] = (),
        timeout: float,  # noqa: ASYNC109 (of a round trip; the connection is closed after it)
    ) -> list[Any]:
        """The replies in order, Redis' errors among them. If this raises, the commands may have been executed or not.

        `scripts` are those that the commands call.
        """
        assert self._connection is not None  # noqa: S101 (opened before)
        before: list[tuple[Argument, ...]] = []
        for script in set(scripts) - self._loaded:
            before.append(("SCRIPT", "LOAD", script.source))
            self._loaded.add(script)
        if self._loop.time() > self._clock_asked + CLOCK_EVERY or not self._clock_asked:
            before.append(("TIME",))
        try:
            async with asyncio.timeout(timeout):
                packed = [piece for command in (*before, *commands) for piece in _pack(*command)]
                await self._connection.send_packed_command(b"".join(packed), check_health=False)
                for command in before:
                    reply = await self._reply()
                    if command == ("TIME",):
                        self._take_clock(reply)
                replies = [await self._reply() for _ in commands]
        except TimeoutError:
            await self.close()
            raise TimeoutError(f"no answer within {timeout:.2g} s") from None
        except BaseException:
            await self.close()
            raise
        return replies

    async def replicated(self, copies: int) -> int:
        """How many replicas have on disk what this connection wrote. Waits about a second for `copies` of them."""
        replies = await self.exchange([("WAITAOF", 1, copies, wait) for wait in REPLICATION_WAITS], timeout=3.0)
        match replies[-1]:
            case [int(here), int(replicas)] if here >= 1:
                return replicas
            case ResponseError() as error:
                raise error
            case _:
                return 0

    def doubt_clock(self) -> None:
        """Redis' clock may have been set, so read it before anything else is sent."""
        self._clock_asked = 0.0

    def forgotten(self, script: Script) -> None:
        """Redis does not have it any more."""
        self._loaded.discard(script)

    async def close(self) -> None:
        connection, self._connection, self._clock_asked = self._connection, None, 0.0
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _reply(self) -> Any:
        assert self._connection is not None  # noqa: S101 (see exchange)
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error

    def _take_clock(self, reply: Any) -> None:
        if isinstance(reply, ResponseError):
            raise reply
        seconds, microseconds = reply
        self._clock_asked = self._loop.time()
        self._clock_ahead = int(seconds) + int(microseconds) / 1e6 - self._clock_asked
