"""An open loop: reads and writes begin at a steady rate, whether earlier ones have been answered or not.

A load that waits for answers would send the fewest requests while a process is frozen, which is when they matter.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from verify.cache.tally import CacheTally

MAX_PENDING = 200
"""How many requests may wait for answers: more than a frozen replica gets at the default rate."""

BEHIND = 0.25
"""Seconds of delay that the load may make up for. A longer delay means that this process itself did not run."""


@dataclass(frozen=True)
class Rates:
    """How many requests begin in a second."""

    reads: float
    writes: float


class OpenLoop(ABC):
    """Reads and writes until `stop`. Results go to `tally`, which may be replaced meanwhile."""

    def __init__(self, rates: Rates, tally: CacheTally) -> None:
        self.tally = tally
        self._rates = rates
        self._pending: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @abstractmethod
    async def _read(self) -> None: ...

    @abstractmethod
    async def _write(self) -> None: ...

    async def run(self) -> None:
        """Return when all requests that began before `stop` have been answered."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._steadily(group, self._rates.reads, self._read))
            group.create_task(self._steadily(group, self._rates.writes, self._write))

    def stop(self) -> None:
        self._stopping.set()

    @property
    def under_way(self) -> "frozenset[asyncio.Task[None]]":
        """Requests without an answer yet. Each counts for the tally that was there when it began."""
        return frozenset(self._pending)

    async def _steadily(
        self, group: asyncio.TaskGroup, rate: float, begin: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            if len(self._pending) < MAX_PENDING:
                task = group.create_task(begin())
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)
            due = max(due + 1 / rate, time.monotonic() - BEHIND)
            await asyncio.sleep(due - time.monotonic())
