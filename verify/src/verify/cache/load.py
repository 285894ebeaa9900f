"""Which requests user-api gets during a verification."""

import random

from verify.cache.open_loop import OpenLoop, Rates
from verify.cache.prober import Prober, Written
from verify.cache.rows import Row, Rows
from verify.cache.sql import SqlWriter
from verify.cache.tally import CacheTally
from verify.target import Target, Targets

BATCH = 10
"""Rows in a batch read."""

REFERENCES = 0.4
"""The share of reads that use no cache where waits are measured. If the machine itself stands still, some show it."""


class Load(OpenLoop):
    def __init__(
        self, prober: Prober, rows: Rows, targets: Targets, sql: SqlWriter | None, rates: Rates, tally: CacheTally
    ) -> None:
        super().__init__(rates, tally)
        self.sql_share = 0.0
        """The share of writes by SQL."""
        self._prober = prober
        self._rows = rows
        self._targets = targets
        self._sql = sql
        self._size = len(rows)

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
