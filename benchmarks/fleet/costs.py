"""What one fleet costs: at rest, and for each write and read beyond that."""

import asyncio
import time
from dataclasses import dataclass

from benchmarks.fleet.fleets import Fleet
from benchmarks.fleet.loads import Order
from benchmarks.fleet.meters import Meters, Reading

SETTLING = 1.0
"""Seconds until a fleet is at rest."""

RELAYED = 0.4
"""Seconds after a piece of load within which the relay has found its changes, too."""

WARMING = 6
"""Writes of each replica, and as many cold reads, before its fleet is measured. The first ones of a connection cost
PostgreSQL several times as much: the connection reads the catalog, and plans a statement anew for its first five
parameters (PostgreSQL's documentation of plan_cache_mode).
"""

WARMING_RATE = 100
"""In a second."""

KEPT_UP = 0.03
"""Seconds that an event loop may be late on average. A fleet that is later than this does not fit this machine."""


@dataclass(frozen=True)
class Size:
    """How long a fleet is measured."""

    rest: float
    """Seconds."""
    writes: int
    reads: int
    hot: float
    """Seconds in which the hot user is written."""

    def users(self, replicas: int) -> int:
        """How many users a fleet of so many replicas uses up."""
        return self.writes + self.reads + 2 * WARMING * replicas


LONG = Size(rest=8, writes=120, reads=180, hot=5)
SHORT = Size(rest=2.5, writes=40, reads=60, hot=1.5)

WRITE_RATE = 20
READ_RATE = 60
HOT_RATE = 4
"""In a second."""


@dataclass(frozen=True)
class Costs:
    name: str
    replicas: int
    rest: Reading
    """Of one second."""
    redis_connections: int
    postgres_connections: int
    each: dict[str, Reading]
    """Of one `write`, `cold` read, Redis `hit`, and write of a user that all replicas read (`hot`), without what the
    fleet needs at rest in the same time."""
    late: float
    """Seconds that the latest event loop of the replicas was late, on average."""
    failed: list[str]
    """What went wrong, because the machine was too busy."""

    @property
    def fits(self) -> bool:
        """Whether the machine was fast enough for this fleet."""
        return self.late <= KEPT_UP and not self.failed

    @property
    def cores(self) -> float:
        """The CPU that all of it needs at rest."""
        return self.rest.clients_cpu + self.rest.redis_cpu + self.rest.postgres_cpu


async def measured(name: str, fleet: Fleet, meters: Meters, size: Size, first: int) -> Costs:
    """`first` is the first user that nobody has used yet."""
    await asyncio.sleep(SETTLING)
    warming = WARMING * fleet.size
    for kind in ("writes", "cold"):
        await fleet.carry_out(Order(kind, warming, WARMING_RATE, first))
        first += warming
    await asyncio.sleep(SETTLING)
    measuring = _Measuring(fleet, meters)
    quiet = await measuring.reading(Order("rest", seconds=size.rest))
    rest = quiet.over(quiet.seconds)
    reads = first + size.writes
    orders = {
        "write": Order("writes", size.writes, WRITE_RATE, first),
        "cold": Order("cold", size.reads, READ_RATE, reads),
        "hit": Order("hits", size.reads, READ_RATE, reads),
        "hot": Order("hot", round(size.hot * HOT_RATE), seconds=size.hot),
    }
    each = {}
    for kind, order in orders.items():
        spent = await measuring.reading(order)
        each[kind] = spent.minus(rest, times=spent.seconds).over(order.count)
    return Costs(name, fleet.size, rest, *await meters.connections(), each, measuring.late, measuring.failed)


class _Measuring:
    def __init__(self, fleet: Fleet, meters: Meters) -> None:
        self._fleet = fleet
        self._meters = meters
        self.late = 0.0
        self.failed: list[str] = []

    async def reading(self, order: Order) -> Reading:
        before = await self._meters.reading(time.monotonic(), self._fleet.processes)
        late, failed = await self._fleet.carry_out(order)
        self.failed += failed
        if order.kind != "rest":
            await asyncio.sleep(RELAYED)
        self.late = max(self.late, late)
        return (await self._meters.reading(time.monotonic(), self._fleet.processes)).minus(before)
