"""Gets each command executed once, or says that the outcome is unknown.

A command that Redis surely did not execute fails at once; the caller may send it again. A command without an answer is
sent again until the patience ends, if a second copy has no effect. A batch carries a number, by which Redis recognises
a copy. It also carries the moment at which the patience ends: Redis does not execute it after that. So an outcome that
was reported as unknown does not change later.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from prometheus_client import Counter
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from counter_api.problems import NothingApplied, OutcomeUnknown, Unreachable
from counter_api.redis.calls import Argument, Sending, code_of, sentence
from counter_api.redis.link import Link
from evenkeel.redis.topology import Topology

log = logging.getLogger(__name__)

ATTEMPT = 2.0
"""Seconds after which a round trip without an answer is given up, and its connection closed."""

PAUSE, LONGEST_PAUSE = 0.02, 0.25
"""Seconds before the third attempt, and at most before later ones. The second attempt follows at once."""

NOT_HERE = (ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError)
"""What a server answers while another server takes over, or while a slot moves."""

FAILURES = (RedisError, OSError, TimeoutError)


class Delivery:
    """For one task at a time, with connections of its own."""

    def __init__(self, topology: Topology, *, patience: float, replica_acks: int, errors: Counter) -> None:
        """`patience` is in seconds; `errors` counts failures by their label `reason`."""
        self._topology = topology
        self._patience = patience
        self._replica_acks = replica_acks
        self._errors = errors
        self._links: dict[str, Link] = {}

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
                    _give_up(sending)
                return
            await asyncio.sleep(min(pause, until - loop.time()))
            pause = min(LONGEST_PAUSE, max(PAUSE, 2 * pause))

    async def _send(self, sendings: Sequence[Sending], until: float) -> list[Sending]:
        """Send each to its server; return those that must be sent again."""
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
        try:
            await link.open()
        except FAILURES as error:
            return await self._not_sent(address, sendings, error)
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
            return await self._not_answered(sendings, error)
        coming = iter(replies)
        again = []
        for sending in sendings:
            if sending.asking:
                sending.asking, sending.at = False, None
                next(coming)
            if not await self._is_settled(sending, next(coming), link, kept=kept):
                again.append(sending)
        return again

    async def _is_kept(self, link: Link, sendings: Sequence[Sending], replies: Sequence[Any]) -> bool:
        """Whether as many Redis replicas as the settings require have it on disk."""
        done = not all(isinstance(reply, ResponseError) for reply in replies)
        if not self._replica_acks or not done or not any(sending.changes for sending in sendings):
            return True
        return await link.replicated(self._replica_acks) >= self._replica_acks

    async def _not_sent(self, address: str, sendings: list[Sending], error: Exception) -> list[Sending]:
        self._failed("not-sent", error, len(sendings))
        await self._topology.lost()
        again = []
        for sending in sendings:
            sending.trouble = sentence(error)
            if sending.asking:
                sending.asking, sending.at = False, None
            if sending.unsure or (sending.at is None and self._topology.address(sending.key) != address):
                again.append(sending)
            else:
                why = f"Redis cannot be reached, so nothing was changed: {sending.trouble}"
                sending.fail(partial(Unreachable, why))
        return again

    async def _not_answered(self, sendings: list[Sending], error: Exception) -> list[Sending]:
        self._failed("no-answer", error, len(sendings))
        await self._topology.lost()
        for sending in sendings:
            sending.trouble, sending.unsure = sentence(error), True
            if sending.asking:
                sending.asking, sending.at = False, None
            if not sending.repeatable:
                _give_up(sending)
        return [sending for sending in sendings if sending.repeatable]

    async def _is_settled(self, sending: Sending, reply: Any, link: Link, *, kept: bool) -> bool:
        if isinstance(reply, ResponseError):
            return await self._is_refused(sending, reply, link)
        if sending.changes and not kept:
            self._errors.labels("not-replicated").inc()
            sending.trouble, sending.unsure = "Too few replicas have confirmed it.", True
            if sending.repeatable:
                return False
            _give_up(sending)
            return True
        if not sending.receive(reply):
            # Either it must be sent in another form, or Redis' clock was set since it was last read.
            sending.trouble = "It came too late."
            link.doubt_clock()
            return False
        return True

    async def _is_refused(self, sending: Sending, error: ResponseError, link: Link) -> bool:
        """Whether that is its result. If not, it is sent again."""
        match error:
            case NoScriptError():
                # The scripts were flushed.
                sending.trouble = sentence(error)
                if sending.script is not None:
                    link.forgotten(sending.script)
                return False
            case MovedError() if self._topology.movable:
                await self._topology.redirected(error.slot_id, _address(error, link.address))
                return False
            case AskError() if self._topology.movable:
                sending.asking, sending.at = True, _address(error, link.address)
                return False
        self._failed(code_of(error), error, 1)
        sending.trouble = sentence(error)
        if isinstance(error, NOT_HERE) and self._topology.movable:
            await link.close()
            await self._topology.lost()
            return False
        if sending.unsure:  # an earlier copy may have been executed
            return False
        sending.refused(error)
        return True

    def _failed(self, reason: str, error: Exception, calls: int) -> None:
        self._errors.labels(reason).inc(calls)
        log.warning("Redis failed", extra={"reason": reason, "error": str(error), "calls": calls})


def _give_up(sending: Sending) -> None:
    if not sending.changes:
        sending.fail(partial(NothingApplied, f"Redis did not answer: {sending.trouble}"))
    elif sending.unsure:
        why = f"Redis did not answer, so whether this was applied is unknown: {sending.trouble}"
        what_now = "Retry with the same Idempotency-Key; a retry without one may count twice."
        sending.fail(partial(OutcomeUnknown, f"{why} {what_now}"))
    else:
        sending.fail(partial(NothingApplied, f"Redis did not take it, so nothing was changed: {sending.trouble}"))


def _address(error: AskError, asked: str) -> str:
    """Where a redirection leads. A node leaves its own host out until it learns the host from another node."""
    host = error.host or asked.rpartition(":")[0]
    return f"[{host}]:{error.port}" if ":" in host.strip("[]") and not host.startswith("[") else f"{host}:{error.port}"
