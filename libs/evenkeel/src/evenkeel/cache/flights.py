"""Single-flight: readers of a key that is being loaded share the load."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from evenkeel.tasks.ending import end

T = TypeVar("T")

JOINABLE = 1.0
"""Seconds after which no reader joins a load any more. The key may have changed since it began."""


@dataclass(frozen=True, slots=True)
class _Flight(Generic[T]):
    task: "asyncio.Task[Mapping[str, T]]"
    began: float


class Flights(Generic[T]):
    """Loads run in tasks of their own, so they go on for other readers when one reader goes away."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Flight[T]] = {}
        self._tasks: set[asyncio.Task[Mapping[str, T]]] = set()

    def join(
        self, keys: Sequence[str], start: Callable[[list[str]], Coroutine[Any, Any, Mapping[str, T]]]
    ) -> dict[str, tuple["asyncio.Task[Mapping[str, T]]", bool]]:
        """For each key a load, and whether an earlier reader began it. Await the load inside `asyncio.shield`.

        `start` loads the keys that are not being loaded yet.
        """
        now = time.monotonic()
        flights: dict[str, tuple[asyncio.Task[Mapping[str, T]], bool]] = {}
        rest = []
        for key in keys:
            flight = self._under_way.get(key)
            if flight is not None and now < flight.began + JOINABLE:
                flights[key] = (flight.task, True)
            else:
                rest.append(key)
        if rest:
            task = asyncio.create_task(start(rest))
            self._tasks.add(task)
            flight = _Flight(task, now)
            self._under_way |= dict.fromkeys(rest, flight)
            task.add_done_callback(lambda _: self._landed(rest, flight))
            flights |= dict.fromkeys(rest, (task, False))
        return flights

    def __contains__(self, key: str) -> bool:
        return key in self._under_way

    def forget(self, keys: AbstractSet[str] | None) -> None:
        """Let no reader join the loads of these keys (None: of any key) any more. Their rows may be outdated."""
        if keys is None:
            self._under_way.clear()
            return
        for key in keys & self._under_way.keys():
            del self._under_way[key]

    async def close(self) -> None:
        """Give up the loads under way."""
        await end(*self._tasks)

    def _landed(self, keys: Iterable[str], flight: _Flight[T]) -> None:
        self._tasks.discard(flight.task)
        if not flight.task.cancelled():
            flight.task.exception()  # retrieved here, since all its readers may have gone away
        for key in keys:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
