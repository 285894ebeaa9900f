"""Gets each command executed once, or says that the outcome is unknown.

A command that could not be sent waits while Redis is started again, until Redis has been away for as long as the
patience. After that, or if this process has never reached Redis, such a command fails at once; the caller may send it
again. A command without an answer is sent again until the patience ends, if a second copy has no effect. A batch
carries a number, by which Redis recognises a copy. It also carries the moment at which the patience ends: Redis does
not execute it after that. So an outcome that was reported as unknown does not change later.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from prometheus_client import Counter
from redis.asyncio.connection import AbstractConnection
from redis.connection import HiredisRespSerializer
from redis.exceptions import NoScriptError, RedisError, ResponseError

from counter_api.redis.calls import Argument, Sending
from counter_api.redis.failures import NOT_HERE, Failures, give_up
from evenkeel.redis.connecting import CONNECT_TIMEOUT
from evenkeel.redis.scripts import Script
from evenkeel.redis.topology import Topology

ATTEMPT = 2.0
"""Seconds after which a round trip without an answer is given up, and its connection closed."""

PAUSE, LONGEST_PAUSE = 0.02, 0.25
"""Seconds before the third attempt, and at most before later ones. The second attempt follows at once."""

FAILURES = (RedisError, OSError, TimeoutError)

CLOCK_EVERY = 30.0
"""Seconds after which Redis' clock is read again, since it drifts and may be set."""

REPLICATION_WAITS = (1, 2, 5, 10, 20, 50, 100, 1000)
"""Milliseconds. Each WAITAOF makes the replicas report how far they have written. A replica that has not written the
last command yet reports again only a second later. So there are several short waits instead of one long one."""

_pack: Callable[..., list[bytes]] = HiredisRespSerializer().pack
"""A command as bytes, in C. redis-py's asyncio connection does this in Python, which is most of a round trip's work."""


class Link:
    """One connection to one server, for one task at a time.

    A lost connection is made again before the next round trip, never during one.
    """

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


class Delivery:
    """For one task at a time, with connections of its own."""

    def __init__(self, topology: Topology, *, patience: float, replica_acks: int, errors: Counter) -> None:
        """`patience` is in seconds; `errors` counts failures by their label `reason`."""
        self._topology = topology
        self._patience = patience
        self._replica_acks = replica_acks
        self._failures = Failures(topology, errors)
        self._links: dict[str, Link] = {}
        self._away_since: dict[str, float] = {}
        """By address of a server that cannot be reached: the moment of the first failure."""

    async def close(self) -> None:
        for link in self._links.values():
            await link.close()

    async def deliver(self, sendings: Sequence[Sending]) -> None:
        """Return when all have their results."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        pause = 0.0
        while sendings := await self._send(sendings, until):
            if loop.time() >= until:
                for sending in sendings:
                    give_up(sending)
                return
            await asyncio.sleep(min(pause, until - loop.time()))
            pause = min(LONGEST_PAUSE, max(PAUSE, 2 * pause))

    async def _send(self, sendings: Sequence[Sending], until: float) -> list[Sending]:
        """Send each to its server; return those that must be sent again."""
        if not self._topology.movable:
            return await self._round_trip("", list(sendings), until)
        places: dict[str, list[Sending]] = {}
        for sending in sendings:
            address = self._topology.address(sending.key) if sending.at is None else sending.at
            places.setdefault(address, []).append(sending)
        again: list[Sending] = []
        for address, some in places.items():
            again += await self._round_trip(address, some, until)
        return again

    async def _round_trip(self, address: str, sendings: list[Sending], until: float) -> list[Sending]:
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = Link(address, self._topology.connect)
            self._away_since[address] = -math.inf
        try:
            await link.open()
        except FAILURES as error:
            may_return = self._may_return(address)
            return await self._failures.not_sent(address, sendings, error, may_return=may_return)
        commands: list[tuple[Argument, ...]] = []
        for sending in sendings:
            if sending.asking:
                commands.append(("ASKING",))
            commands.append(sending.command(link.redis_time(until)))
        try:
            remaining = until - asyncio.get_running_loop().time()
            scripts = {sending.script for sending in sendings if sending.script is not None}
            replies = await link.exchange(commands, scripts=scripts, timeout=min(ATTEMPT, max(remaining, PAUSE)))
            kept = await self._is_kept(link, sendings, replies)
        except FAILURES as error:
            return await self._failures.not_answered(sendings, error)
        if self._away_since:
            self._away_since.pop(address, None)
        coming = iter(replies)
        again = []
        for sending in sendings:
            if sending.asking:
                sending.asking, sending.at = False, None
                next(coming)
            if not await self._is_settled(sending, next(coming), link, kept=kept):
                again.append(sending)
        return again

    def _may_return(self, address: str) -> bool:
        """Whether a server that cannot be reached has not been away for the whole patience yet.

        False at the last attempt within the patience, which then says that nothing was sent.
        """
        now = asyncio.get_running_loop().time()
        return now + LONGEST_PAUSE < self._away_since.setdefault(address, now) + self._patience

    async def _is_kept(self, link: Link, sendings: Sequence[Sending], replies: Sequence[Any]) -> bool:
        """Whether as many Redis replicas as the settings require have it on disk."""
        done = not all(isinstance(reply, ResponseError) for reply in replies)
        if not self._replica_acks or not done or not any(sending.changes for sending in sendings):
            return True
        return await link.replicated(self._replica_acks) >= self._replica_acks

    async def _is_settled(self, sending: Sending, reply: Any, link: Link, *, kept: bool) -> bool:
        if isinstance(reply, ResponseError):
            if isinstance(reply, NoScriptError) and sending.script is not None:
                link.forgotten(sending.script)
            elif isinstance(reply, NOT_HERE) and self._topology.movable:
                await link.close()
            return await self._failures.refused(sending, reply, link.address)
        if sending.changes and not kept:
            return self._failures.not_replicated(sending)
        if not sending.receive(reply):
            # Either it must be sent in another form, or Redis' clock was set since it was last read.
            sending.trouble = "It came too late."
            link.doubt_clock()
            return False
        return True
