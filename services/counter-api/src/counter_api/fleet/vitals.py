"""What a replica of counter-api says about itself in the fleet, and the document of the fleet."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field

from counter_api.counters.service import CounterService
from counter_api.fleet.busiest import Busiest, together
from counter_api.parameters import CounterName
from evenkeel.http.problems import Problem
from evenkeel.service.fleet.heartbeat import Connections, Replica, Sighting, Vitals
from evenkeel.service.fleet.rates import Rates, answered

SERVICE = "counter-api"

VALUES_WITHIN = 0.5
"""Seconds that Redis has for the values of the busiest counters. Without them no counters are shown."""


class BusyCounter(BaseModel):
    name: CounterName = Field(examples=["downloads"])
    value: int = Field(ge=-(2**63), le=2**63 - 1, examples=[1812345])
    per_second: float = Field(
        ge=0, description="Increments through all replicas, over the last five seconds", examples=[120.6]
    )


class CounterFleet(BaseModel):
    service: str = Field(examples=[SERVICE])
    replicas: list[Replica] = Field(description="In the order of their names. `hits` is null")
    busiest: list[BusyCounter] = Field(
        description="Up to ten counters, those first that are incremented most often. Empty while Redis does not answer"
    )


class CounterVitals:
    """The subject of the fleet."""

    def __init__(
        self, registry: CollectorRegistry, counters: CounterService, connections: Callable[[], tuple[int, int]]
    ) -> None:
        """`connections` returns how many connections to Redis are in use, and how many there are."""
        self._registry = registry
        self._counters = counters
        self._connections = connections
        self._rates = Rates()
        self._busiest = Busiest()

    def measure(self) -> Vitals:
        rates = self._rates.add({"requests": answered(self._registry)})
        in_use, size = self._connections()
        return Vitals(requests_per_second=rates["requests"], hits=None, pool=Connections(in_use=in_use, size=size))

    def own(self) -> dict[str, Any]:
        return {"busiest": self._busiest.add(self._counters.take_increments())}

    async def describe(self, sightings: Sequence[Sighting]) -> CounterFleet:
        replicas = [sighting.replica() for sighting in sightings]
        rates = together(each.report.own.get("busiest") for each in sightings if not each.gone)
        try:
            async with asyncio.timeout(VALUES_WITHIN):
                # They are read at the same moment, so the store sends them together.
                values = await asyncio.gather(*(self._value(name) for name, _ in rates))
        except TimeoutError:
            values = []
        busiest = [
            BusyCounter(name=name, value=value, per_second=rate)
            for (name, rate), value in zip(rates, values, strict=False)
            if value is not None
        ]
        return CounterFleet(service=SERVICE, replicas=replicas, busiest=busiest)

    async def _value(self, name: str) -> int | None:
        try:
            return await self._counters.value(name)
        except Problem:  # it has been deleted, or Redis does not answer
            return None
