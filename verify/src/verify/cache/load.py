"""An open loop: reads and writes begin at a steady rate, whether earlier ones have been answered or not.

A load that waits for answers would send the fewest requests while a process is frozen, which is when they matter.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from verify.cache.prober import Prober, Written
from verify.cache.rows import Row, Rows
from verify.cache.sql import SqlWriter
from verify.cache.tally import CacheTally
from verify.target import Target, Targets

MAX_PENDING = 200
"""How many requests may wait for answers: more than a frozen replica gets at the default rate."""

BATCH = 10
"""Rows in a batch read."""

REFERENCES = 0.4
"""The share of reads that use no cache where waits are measured. If the machine itself stands still, some show it."""

BEHIND = 0.25
"""Seconds of delay that the load may make up for. A longer delay means that this process itself did not run."""


@dataclass(frozen=True)
class Rates:
    """How many requests begin in a second."""

    reads: float
    writes: float


class Load:
    """Reads and writes until `stop`. Results go to `tally`, which may be replaced meanwhile."""

    def __init__(
        self, prober: Prober, rows: Rows, targets: Targets, sql: SqlWriter | None, rates: Rates, tally: CacheTally
    ) -> None:
        self.tally = tally
        self.sql_share = 0.0
        """The share of writes by SQL."""
        self._prober = prober
        self._rows = rows
        self._targets = targets
        self._sql = sql
        self._rates = rates
        self._size = len(rows)
        self._pending: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

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

    async def _read(self) -> None:
        prober, tally, target = self._prober, self.tally, self._targets.any()
        if tally.waits is not None and random.random() < REFERENCES:
            await prober.read_from_database(target, self._rows.any_to_read(), tally)
            return
        chance = random.random()
        if chance < 0.05:
            await prober.read_ahead(target, tally)
        elif chance < 0.10:
            await prober.read_many(target, [self._rows.any_to_read() for _ in range(BATCH)], tally)
        elif chance < 0.15:
            await prober.read_from_database(target, self._rows.any_to_read(), tally)
        elif chance < 0.25:
            await prober.read_min_version(target, self._rows.any_to_read(), tally)
        else:
            await prober.read(target, self._rows.any_to_read(), tally)

    async def _write(self) -> None:
        tally, target = self.tally, self._targets.any()
        if self._sql and random.random() < self.sql_share:
            await self._sql.write(tally)
            return
        chance = random.random()
        if chance < 0.05 or len(self._rows) < self._size / 2:
            await self._prober.create(target, tally)
            return
        row = self._rows.any()
        if chance < 0.10:
            await self._read_back(target, row, await self._prober.delete(target, row, tally), tally)
        else:
            await self._read_back(target, row, await self._prober.patch(target, row, tally), tally)

    async def _read_back(self, target: Target, row: Row, written: Written | None, tally: CacheTally) -> None:
        """Read a write through the replica that acknowledged it, or through an address that may lead to it."""
        if written:
            replica = self._targets.named(written.served_by) or target
            await self._prober.read_own(replica, row, tally, written=written.position, served_by=written.served_by)
