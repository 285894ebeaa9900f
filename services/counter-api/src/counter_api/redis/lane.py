"""Many callers on one connection: what queues up while a round trip is under way travels together in the next one.

All operations on a counter that travel together are one script call, so that a hundred callers wait for one addition
and one fsync, and not for a hundred. One task owns the connection: a caller that is cancelled never leaves his reply
to the next one.
"""

import asyncio
import itertools
import secrets
from typing import Any

from counter_api.counters.batch import CounterBatch, Group
from counter_api.counters.encoding import Terms
from counter_api.problems import NothingApplied
from counter_api.redis.calls import Call, Sending, SingleCall
from counter_api.redis.delivery import Delivery
from evenkeel.redis.combining import Combiner, Full

LARGEST_ROUND_TRIP = 1000
"""Operations. Redis is busy with them for a few milliseconds at most, so that nobody waits long for his turn."""


class Lane:
    """What goes to one server, in the order in which it came."""

    def __init__(self, delivery: Delivery, *, terms: Terms, changes: bool, most_waiting: int) -> None:
        """`changes` says whether single calls may change anything, `most_waiting` bounds the operations that queue."""
        self._delivery = delivery
        self._terms = terms
        self._changes = changes
        self._combiner: Combiner[Call | Group | Sending, Any] = Combiner(
            self._send, largest=LARGEST_ROUND_TRIP, most_waiting=most_waiting
        )
        # One batch of a counter is under way at a time, so one receipt a counter is enough for this sender.
        self._sender = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    def submit(self, item: Call | Group | Sending) -> "asyncio.Future[Any]":
        """A group's outcomes, or the reply to a call or the problem that came instead; a sending keeps its own result.

        Raise NothingApplied if too much is waiting already.
        """
        try:
            return self._combiner.submit(item, len(item.operations) if isinstance(item, Group) else 1)
        except Full:
            raise NothingApplied("Too many operations are waiting for Redis, so nothing was changed.") from None

    async def close(self) -> None:
        """Let what was submitted be answered, then close the connection."""
        await self._combiner.close()
        await self._delivery.close()

    async def _send(self, items: list[Call | Group | Sending]) -> list[Any]:
        sendings: list[Sending] = []
        batches: dict[tuple[str, bool], CounterBatch] = {}
        places: list[Sending | tuple[CounterBatch, slice]] = []
        for item in items:
            if not isinstance(item, Group):
                sending = SingleCall(item, changes=self._changes) if isinstance(item, Call) else item
                sendings.append(sending)
                places.append(sending)
                continue
            batch = batches.get(item.batch_key)
            if batch is None:
                name, deletions = item.batch_key
                batch = batches[item.batch_key] = CounterBatch(
                    name, deletions=deletions, sender=self._sender, numbers=self._numbers, terms=self._terms
                )
                sendings.append(batch)
            places.append((batch, batch.add(item)))
        await self._delivery.deliver(sendings)
        return [_result(place) for place in places]


def _result(place: Sending | tuple[CounterBatch, slice]) -> Any:
    match place:
        case SingleCall():
            return place.result
        case (batch, operations):
            return batch.outcomes[operations]
    return None
