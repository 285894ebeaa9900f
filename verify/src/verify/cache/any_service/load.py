"""Which requests the service gets."""

import random
from collections.abc import Sequence

from verify.cache.any_service.prober import ServiceProber, Way, writing
from verify.cache.any_service.records import Records
from verify.cache.open_loop import OpenLoop, Rates
from verify.cache.tally import CacheTally


class ServiceLoad(OpenLoop):
    def __init__(
        self, prober: ServiceProber, records: Records, ways: Sequence[Way], rates: Rates, tally: CacheTally
    ) -> None:
        super().__init__(rates, tally)
        self.by_sql = False
        """Whether writes go past the service."""
        self.quiet = False
        """Whether nothing is written, so that it shows for how long old answers are given."""
        self._prober = prober
        self._records = records
        self._ways = ways

    async def _read(self) -> None:
        await self._prober.read(random.choice(self._ways), self._records.any_to_read(), self.tally)

    async def _write(self) -> None:
        tally, way, record = self.tally, random.choice(self._ways), self._records.free()
        if self.quiet or record is None:
            return
        written = None
        with writing(record):
            value, position = self._records.next_value(record, tally)
            self._records.touch(record)
            if self.by_sql:
                await self._prober.change(record, value, position, tally)
            else:
                written = await self._prober.write(way, record, value, position, tally)
        if written:
            read = await self._prober.read(way, record, tally)
            tally.own += read is not None
            tally.own_stale += read is not None and read < written and read not in record.unsettled
