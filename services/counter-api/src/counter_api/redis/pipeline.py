"""How this process talks to the Redis of the counters: a server has one lane each for changes, reads, and checks.

A lane is a queue and a connection. What queues while a round trip is under way travels together in the next one. All
operations on a counter that travel together are one call of a script: a hundred callers wait for one addition and one
fsync. One task owns the connection, so a caller that is cancelled never leaves a reply to the next caller.
"""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import replace
from typing import Any, Literal

from prometheus_client import Counter
from redis.exceptions import RedisError

from counter_api.problems import NothingApplied, Unreachable
from counter_api.redis.calls import Argument, Batch, Call, Part, Sender, Sending, SingleCall, checked, sentence
from counter_api.redis.delivery import Delivery
from evenkeel.http.problems import Problem
from evenkeel.redis.combining import Combiner, Full
from evenkeel.redis.topology import Topology

LARGEST_ROUND_TRIP = 1000
"""Operations. Redis is busy with them for a few milliseconds at most, so that no caller waits long."""

CHECK_PATIENCE = 1.0
"""Seconds for which a check is repeated: less than a check of readiness may take, so that it can say what failed."""

REFUSED_FOR = 5
"""Seconds after which a refused change may be sent again: about as often as readiness is checked."""

SCAN_COUNT = 1000
"""Keys that one SCAN step looks at: a fraction of a millisecond of Redis' time."""

Kind = Literal["changes", "reads", "checks"]


class RedisPipeline:
    def __init__(
        self,
        topology: Topology,
        errors: Counter,
        *,
        replica_acks: int = 0,
        most_waiting: int = 10_000,
        patience: float = 4.0,
    ) -> None:
        """`errors` counts failures by their label `reason`.

        `patience` is in seconds. `most_waiting` bounds the operations that wait for a server.
        """
        self.topology = topology
        self.refusal: str | None = None
        """Why changes are refused, if they are: safety.py decides that. Reads and counts of requests are not."""
        self._errors = errors
        self._replica_acks = replica_acks
        self._most_waiting = most_waiting
        self._patience: dict[Kind, float] = {
            "changes": patience,
            "reads": patience,
            "checks": min(patience, CHECK_PATIENCE),
        }
        self._lanes: dict[tuple[Kind, str], _Lane] = {}
        self._only_lane: _Lane | None = None
        """That of all changes, if all keys are on one server."""

    async def close(self) -> None:
        """Let what was submitted be answered, then close the connections."""
        for lane in list(self._lanes.values()):
            await lane.close()

    def submit(self, part: Part) -> "asyncio.Future[Any]":
        """The part's result; raise NothingApplied if too much is waiting, or if changes are refused."""
        if self.refusal is not None and part.weight:
            raise self._refused()
        lane = self._only_lane
        if lane is None:
            lane = self._lane("changes", self.topology.address(part.key))
            if not self.topology.movable:
                self._only_lane = lane
        return lane.submit(part, part.weight)

    async def command(self, *arguments: Argument, repeatable: bool = False) -> Any:
        """Redis' reply to a command whose first argument is a key.

        Raise NothingApplied, OutcomeUnknown or NotACounter. A `repeatable` command is sent again after a lost
        connection.
        """
        [reply] = await self.replies([Call(arguments, repeatable=repeatable)])
        return checked(reply)

    async def replies(self, calls: Sequence[Call], *, refusable: bool = True) -> list[Any]:
        """Each call's reply, or the problem that came instead, in order."""
        if self.refusal is not None and refusable:
            return [self._refused() for _ in calls]
        return await self._results("changes", calls)

    async def read(self, *arguments: Argument) -> Any:
        """As `command`, for what changes nothing. It does not wait for changes that are being written to disk."""
        [reply] = await self.reads([Call(arguments)])
        return checked(reply)

    async def reads(self, calls: Sequence[Call]) -> list[Any]:
        """As `replies`, for what changes nothing."""
        return await self._results("reads", [replace(call, repeatable=True) for call in calls])

    async def checks(self, calls: Sequence[Call]) -> list[Any]:
        """As `replies`, on a connection of their own, which waits for no change and no read, and not for replicas."""
        return await self._results("checks", calls)

    @property
    def connections(self) -> tuple[int, int]:
        """How many connections are in use, and how many there are or were."""
        return sum(lane.busy for lane in self._lanes.values()), len(self._lanes)

    async def ask_servers(self, *arguments: Argument) -> dict[str, Any]:
        """Send a command that only reads to every server. The reply, or the problem instead of it, by address."""
        addresses = await self._addresses()
        calls = [Call(arguments, at=address, repeatable=True) for address in addresses]
        replies = await self._results("checks", calls)
        return dict(zip(addresses, replies, strict=True))

    async def scan_steps(self, pattern: str, *, kind: str = "string") -> AsyncIterator[tuple[str, list[bytes]]]:
        """Keys of all servers, step by step: the address of a server, and some of its keys.

        A key may come more than once. A key that is made or deleted meanwhile may come, or not.
        """
        for address in await self._addresses():
            cursor = 0
            while True:
                command = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT, "TYPE", kind)
                [reply] = await self.reads([Call(command, at=address)])
                cursor = int(checked(reply)[0])
                yield address, reply[1]
                if cursor == 0:
                    break

    def _refused(self) -> NothingApplied:
        return NothingApplied(f"Nothing was changed, because {self.refusal}.", retry_after=REFUSED_FOR)

    async def _addresses(self) -> list[str]:
        try:
            return await self.topology.addresses()
        except RedisError as error:
            raise Unreachable(f"Redis cannot be reached, so nothing was changed: {sentence(error)}") from error

    async def _results(self, kind: Kind, calls: Sequence[Call]) -> list[Any]:
        submitted = [self._submitted(kind, call) for call in calls]
        return [item if isinstance(item, Problem) else await item for item in submitted]

    def _submitted(self, kind: Kind, call: Call) -> "asyncio.Future[Any] | Problem":
        try:
            return self._lane(kind, call.at or self.topology.address(call.key)).submit(call, 1)
        except NothingApplied as problem:
            return problem

    def _lane(self, kind: Kind, address: str) -> "_Lane":
        lane = self._lanes.get((kind, address))
        if lane is None:
            delivery = Delivery(
                self.topology,
                patience=self._patience[kind],
                replica_acks=self._replica_acks if kind == "changes" else 0,
                errors=self._errors,
            )
            lane = _Lane(delivery, kind, most_waiting=self._most_waiting)
            self._lanes[kind, address] = lane
        return lane


class _Lane:
    """What goes to one server, in the order in which it came."""

    def __init__(self, delivery: Delivery, kind: Kind, *, most_waiting: int) -> None:
        """`kind` says whether calls may change anything, `most_waiting` bounds the operations that queue."""
        self._delivery = delivery
        self._changes = kind == "changes"
        self._combiner: Combiner[Call | Part, Any] = Combiner(
            self._send, largest=LARGEST_ROUND_TRIP, most_waiting=most_waiting, name=kind
        )
        self._sender = Sender(secrets.token_hex(6), itertools.count(1))

    def submit(self, item: Call | Part, weight: int) -> "asyncio.Future[Any]":
        """A part's result, or the reply to a call or the problem that came instead.

        Raise NothingApplied if too much is waiting already.
        """
        try:
            return self._combiner.submit(item, weight)
        except Full:
            raise NothingApplied("Too many operations are waiting for Redis, so nothing was changed.") from None

    @property
    def busy(self) -> bool:
        """Whether a round trip is under way."""
        return self._combiner.busy

    async def close(self) -> None:
        """Let what was submitted be answered, then close the connection."""
        await self._combiner.close()
        await self._delivery.close()

    async def _send(self, items: list[Call | Part]) -> list[Any]:
        sendings: list[Sending] = []
        batches: dict[Hashable, Batch] = {}
        places: list[SingleCall | tuple[Batch, Any]] = []
        for item in items:
            if isinstance(item, Call):
                call = SingleCall(item, changes=self._changes)
                sendings.append(call)
                places.append(call)
                continue
            key = item.batch_key
            batch = batches.get(key)
            if batch is None:
                batch = batches[key] = item.begin(self._sender)
                sendings.append(batch)
            places.append((batch, batch.add(item)))
        await self._delivery.deliver(sendings)
        return [place.result if isinstance(place, SingleCall) else place[0].result_at(place[1]) for place in places]
