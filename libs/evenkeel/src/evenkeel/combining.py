"""Many callers, one round trip: what queues up while a request is under way travels in the next one.

There is no timer: an idle combiner sends at once, a busy one sends as often as the other side answers, with batches
as large as the load makes them (the natural batching of group commit).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Combiner(Generic[T, R]):
    """Gives `send` lists of items, one list at a time, and each caller the result at its item's place.

    `send` runs in a task of the combiner's own, so a caller that is cancelled never cuts a connection off in the
    middle of a reply. An exception raised by `send` reaches every caller of that batch.
    """

    def __init__(self, send: Callable[[list[T]], Awaitable[Sequence[R]]], *, largest: int = 1000) -> None:
        """`largest` bounds the items of one batch."""
        self._send = send
        self._largest = largest
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._owner: asyncio.Task[None] | None = None

    def submit(self, item: T) -> asyncio.Future[R]:
        """Queue the item; the future gets its result. Cancelling the future does not take the item back."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._owner is None:
            self._owner = asyncio.create_task(self._run())
        return future

    async def close(self) -> None:
        """Return when everything submitted has been sent and answered."""
        while self._owner is not None:
            await asyncio.shield(self._owner)

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._largest], self._waiting[self._largest :]
            try:
                results = await self._send([item for item, _ in batch])
                if len(results) != len(batch):
                    raise ValueError(f"{len(batch)} items were sent and {len(results)} results came back")  # noqa: TRY301
            except Exception as error:  # noqa: BLE001 (each caller gets it)
                _fail(batch, error)
            except asyncio.CancelledError:
                for _, future in batch + self._waiting:
                    future.cancel()
                self._waiting.clear()
                self._owner = None
                raise
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
        self._owner = None


def _fail(batch: Sequence[tuple[T, "asyncio.Future[R]"]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
            # A caller that went away leaves nobody to look at the exception; that is no news for the log.
            future.exception()
