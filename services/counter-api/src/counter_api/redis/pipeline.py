"""How this process talks to the counters' Redis: to each server a lane for changes, one for reads, one for checks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from prometheus_client import Counter
from redis.exceptions import RedisError

from counter_api.counters.batch import Group
from counter_api.counters.encoding import Terms
from counter_api.problems import NothingApplied, Unreachable
from counter_api.redis.calls import Argument, Call, Sending, sentence
from counter_api.redis.delivery import Delivery
from counter_api.redis.lane import Lane
from evenkeel.http.problems import Problem
from evenkeel.redis.topology import Topology

__all__ = ["Argument", "Call", "RedisPipeline"]

CHECK_PATIENCE = 1.0
"""Seconds for which a check is repeated: less than a check of readiness may take, so that it can say what failed."""

SCAN_COUNT = 1000
"""Keys that one SCAN step looks at: a fraction of a millisecond of Redis' time."""

Kind = Literal["changes", "reads", "checks"]


class RedisPipeline:
    def __init__(
        self,
        topology: Topology,
        errors: Counter,
        *,
        terms: Terms,
        replica_acks: int = 0,
        most_waiting: int = 10_000,
        patience: float = 4.0,
    ) -> None:
        """`errors` counts failures by their label `reason`.

        `patience` is in seconds, `most_waiting` bounds the operations that wait for a server.
        """
        self.topology = topology
        self._errors = errors
        self._terms = terms
        self._replica_acks = replica_acks
        self._most_waiting = most_waiting
        self._patience: dict[Kind, float] = {
            "changes": patience,
            "reads": patience,
            "checks": min(patience, CHECK_PATIENCE),
        }
        self._lanes: dict[tuple[Kind, str], Lane] = {}

    async def close(self) -> None:
        """Let what was submitted be answered, then close the connections."""
        for lane in list(self._lanes.values()):
            await lane.close()

    def submit(self, item: Group | Sending) -> "asyncio.Future[Any]":
        """A group's outcomes, or the end of a sending; raise NothingApplied if too much is waiting."""
        key = item.key if isinstance(item, Sending) else f"{{{item.name}}}"
        return self._lane("changes", self.topology.address(key)).submit(item)

    async def command(self, *arguments: Argument, repeatable: bool = False) -> Any:
        """Redis' reply to a command whose first argument is a key.

        Raise NothingApplied, OutcomeUnknown or NotACounter. What is `repeatable` is sent again after a lost connection.
        """
        [reply] = await self.replies([Call(arguments, repeatable=repeatable)])
        return _checked(reply)

    async def replies(self, calls: Sequence[Call]) -> list[Any]:
        """Each call's reply, or the problem that came instead, in order."""
        return await self._results("changes", calls)

    async def read(self, *arguments: Argument) -> Any:
        """As `command`, for what changes nothing: it waits for no change that is being written to disk."""
        [reply] = await self.reads([Call(arguments)])
        return _checked(reply)

    async def reads(self, calls: Sequence[Call]) -> list[Any]:
        """As `replies`, for what changes nothing."""
        return await self._results("reads", [replace(call, repeatable=True) for call in calls])

    async def ask_servers(self, *arguments: Argument) -> dict[str, Any]:
        """What each server replies to a reading command about itself, or the problem that came instead, by address."""
        addresses = await self._addresses()
        calls = [Call(arguments, at=address, repeatable=True) for address in addresses]
        replies = await self._results("checks", calls)
        return dict(zip(addresses, replies, strict=True))

    async def scan_steps(self, pattern: str, *, kind: str = "string") -> AsyncIterator[tuple[str, list[bytes]]]:
        """Keys of all servers, step by step: the address of a server, and some of its keys.

        Some may come more than once, and those that come or go meanwhile may be among them.
        """
        for address in await self._addresses():
            cursor = 0
            while True:
                command = ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT, "TYPE", kind)
                [reply] = await self.reads([Call(command, at=address)])
                cursor = int(_checked(reply)[0])
                yield address, reply[1]
                if cursor == 0:
                    break

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
            return self._lane(kind, call.at or self.topology.address(call.key)).submit(call)
        except NothingApplied as problem:
            return problem

    def _lane(self, kind: Kind, address: str) -> Lane:
        lane = self._lanes.get((kind, address))
        if lane is None:
            delivery = Delivery(
                self.topology,
                patience=self._patience[kind],
                replica_acks=self._replica_acks if kind == "changes" else 0,
                errors=self._errors,
            )
            lane = Lane(delivery, terms=self._terms, changes=kind == "changes", most_waiting=self._most_waiting)
            self._lanes[kind, address] = lane
        return lane


def _checked(reply: Any) -> Any:
    if isinstance(reply, Problem):
        raise reply
    return reply
