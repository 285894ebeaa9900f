"""Single-flight: readers of a key that is being loaded share the load.

Keys that are missed in the same turn of the event loop are loaded together. A round trip brings many misses at once,
and together they cost hardly more than one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, TypeVar

from evenkeel.tasks.under_way import UnderWay
from evenkeel.tracing import shared

T = TypeVar("T")

JOINABLE = 1.0
"""Seconds after which no reader joins a load any more. The key may have changed since it began."""

LARGEST = 100
"""Keys that are loaded together at most."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a reader wants its key loaded. Those who share a load get the strictest."""

    deadline: float
    """Until when the reader waits for a database that does not answer (monotonic)."""

    past_redis: bool = False
    """Redis cannot be trusted now."""

    unreadable: AbstractSet[str] = frozenset()
    """Keys whose entries in Redis cannot be opened."""


Load = Callable[[list[str], Terms], AsyncIterator[dict[str, T]]]
"""Loads keys, and gives what it has found part by part, so that no key waits for another one's lease."""


@dataclass(eq=False, slots=True)
class _Flight(Generic[T]):
    """The load of one key."""

    began: float
    readers: list["asyncio.Future[T]"] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Departure(Generic[T]):
    """Flights that leave together, at the end of this turn of the event loop."""

    terms: Terms
    flights: dict[str, list[_Flight[T]]] = field(default_factory=dict)


class Flights(Generic[T]):
    """Loads run in tasks of their own, so they go on for other readers when one reader goes away."""

    def __init__(self, load: Load[T]) -> None:
        self._load = load
        self._under_way: dict[str, _Flight[T]] = {}
        self._boarding: dict[bool, _Departure[T]] = {}
        self._tasks = UnderWay()
        self._spans = shared("load")

    def join(self, key: str, terms: Terms) -> tuple["asyncio.Future[T]", bool]:
        """What the load of the key will find, and whether an earlier reader began it. The future is this reader's."""
        now = time.monotonic()
        flight = self._under_way.get(key)
        collapsed = flight is not None and now < flight.began + JOINABLE
        if flight is None or not collapsed:
            flight = self._under_way[key] = _Flight(now)
            self._board(key, flight, terms)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        flight.readers.append(future)
        if self._spans is not None:
            self._spans.join(future)
        return future, collapsed

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
        await self._tasks.end()

    def _board(self, key: str, flight: _Flight[T], terms: Terms) -> None:
        departure = self._boarding.get(terms.past_redis)
        if departure is None or len(departure.flights) == LARGEST:
            departure = self._boarding[terms.past_redis] = _Departure(terms)
            # In no request's context: its log lines concern all of them.
            task = asyncio.create_task(self._fly(departure), context=Context())
            self._tasks.add(task)
            boarded = departure
            task.add_done_callback(lambda task: self._landed(boarded, task))
        elif terms != departure.terms:
            departure.terms = _strictest(departure.terms, terms)
        departure.flights.setdefault(key, []).append(flight)

    async def _fly(self, departure: _Departure[T]) -> None:
        # A task begins in the next turn, when everyone is on board.
        if self._boarding.get(departure.terms.past_redis) is departure:
            del self._boarding[departure.terms.past_redis]
        with self._work(departure):
            async for found in self._load(list(departure.flights), departure.terms):
                for key, result in found.items():
                    for reader in self._leave(key, departure.flights.pop(key)):
                        reader.set_result(result)

    def _work(self, departure: _Departure[T]) -> AbstractContextManager[object]:
        if self._spans is None:
            return nullcontext()
        flights = chain.from_iterable(departure.flights.values())
        return self._spans.work([reader for flight in flights for reader in flight.readers])

    def _landed(self, departure: _Departure[T], task: "asyncio.Task[None]") -> None:
        """Readers whose keys the load has not brought get its error."""
        error = None if task.cancelled() else task.exception() or LookupError("the load has not brought it")
        for key, flights in departure.flights.items():
            for reader in self._leave(key, flights):
                if error is None:
                    reader.cancel()
                else:
                    reader.set_exception(error)
                    reader.exception()  # retrieved here, since the reader may have gone away

    def _leave(self, key: str, flights: Iterable[_Flight[T]]) -> Iterator["asyncio.Future[T]"]:
        """Those who still wait for the key. From now on nobody joins them."""
        for flight in flights:
            if self._under_way.get(key) is flight:
                del self._under_way[key]
            yield from (reader for reader in flight.readers if not reader.done())


def _strictest(one: Terms, other: Terms) -> Terms:
    return Terms(min(one.deadline, other.deadline), one.past_redis, one.unreadable | other.unreadable)
