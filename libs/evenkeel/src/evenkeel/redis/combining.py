"""Many callers, one round trip: what queues up while a request is under way travels in the next one.

There is no timer. An idle combiner sends at once. A busy one sends as often as the other side answers, in batches as
large as the load makes them (the natural batching of group commit).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from evenkeel.tracing import shared

T = TypeVar("T")
R = TypeVar("R")


class Full(Exception):
    """Too much is waiting, so this item was not queued."""


class Combiner(Generic[T, R]):
    """Gives `send` lists of items, one list at a time, and each caller the result at its item's place.

    `send` runs in a task of the combiner's own, so a cancelled caller never closes a connection in the middle of a
    reply. An exception raised by `send` reaches every caller of that batch. Items leave in the order in which they
    came, so an item waits only for the items before it.
    """

    def __init__(
        self,
        send: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        largest: int = 1000,
        most_waiting: int | None = None,
        linger: bool = False,
        name: str = "round trip",
    ) -> None:
        """`largest` bounds the weight of one batch, `most_waiting` that of what has not left yet.

        An item that is heavier than a bound travels by itself, and an item without weight always passes. With `linger`
        the next batch leaves one turn of the event loop later. Callers that were just answered can then queue again
        before it leaves, which makes batches larger: good for a server so fast that the number of batches is the cost.
        Spans have the `name`.
        """
        self._send = send
        self._linger = linger
        self._largest = largest
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[T, asyncio.Future[R], int]] = deque()
        self._weight = 0
        self._owner: asyncio.Task[None] | None = None
        self._spans = shared(name, kind="client", attributes={"db.system.name": "redis", "db.operation.name": name})

    def submit(self, item: T, weight: int = 1) -> asyncio.Future[R]:
        """Queue the item; the future gets its result. The item is sent even if the future is cancelled.

        Raise Full, at once, if too much is waiting.
        """
        if self._most_waiting is not None and self._waiting and weight and self._weight + weight > self._most_waiting:
            raise Full
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        if self._spans is not None:
            self._spans.join(future)
        self._waiting.append((item, future, weight))
        self._weight += weight
        if self._owner is None:
            # In no request's context: its log lines concern all of them.
            self._owner = asyncio.create_task(self._run(), context=Context())
        return future

    @property
    def busy(self) -> bool:
        """Whether a batch is under way."""
        return self._owner is not None

    async def close(self) -> None:
        """Return when everything submitted has been sent and answered."""
        while self._owner is not None:
            await asyncio.shield(self._owner)

    async def _run(self) -> None:
        futures: list[asyncio.Future[R]] = []
        try:
            while self._waiting:
                items, futures = self._next_batch()
                await self._round_trip(items, futures)
                if self._linger:
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            for future in (*futures, *(future for _, future, _ in self._waiting)):
                future.cancel()
            self._waiting.clear()
            self._weight = 0
            raise
        finally:
            self._owner = None

    async def _round_trip(self, items: list[T], futures: Sequence["asyncio.Future[R]"]) -> None:
        try:
            if self._spans is None:
                results = await self._send(items)
            else:
                with self._spans.work(futures):
                    results = await self._send(items)
            if len(results) != len(items):
                raise ValueError(f"{len(items)} items were sent and {len(results)} results came back")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 (each caller gets it)
            _fail(futures, error)
        else:
            for future, result in zip(futures, results, strict=True):
                if not future.done():
                    future.set_result(result)

    def _next_batch(self) -> tuple[list[T], list[asyncio.Future[R]]]:
        items: list[T] = []
        futures: list[asyncio.Future[R]] = []
        total = 0
        while self._waiting and (not items or total + self._waiting[0][2] <= self._largest):
            item, future, weight = self._waiting.popleft()
            items.append(item)
            futures.append(future)
            total += weight
        self._weight -= total
        return items, futures


def _fail(futures: Sequence["asyncio.Future[R]"], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
            # Without this, asyncio logs the exception of a caller that went away.
            future.exception()
