"""What a replica of user-api says about itself in the fleet, and the document of the fleet."""

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field

from evenkeel.cache.heartbeats import CacheHeartbeats
from evenkeel.service.fleet.heartbeat import Connections, Hits, Replica, Sighting, Vitals
from evenkeel.service.fleet.rates import Rates, answered, samples

SERVICE = "user-api"

_HITS = {("memory", "hit"), ("redis", "hit"), ("redis", "stale")}
"""Tier and result of reads that a tier has answered, as the metrics of the cache name them."""

_READS, _LOADS, _RELAY = "cache_reads_total", "cache_loads_total", "cache_relay_active"


class RelayState(BaseModel):
    name: str | None = Field(description="The replica whose relay works; null: none does, as far as heartbeats show")
    epoch: str | None = Field(
        description="The random beginning of the cache's epoch. It changes when everything is forgotten",
        examples=["9f3c51e0a7b2d844"],
    )
    lag_seconds: float | None = Field(
        ge=0,
        description="Seconds since the last look at the change log. No older change is left in the cache. Above 1.5, "
        "nothing in the cache is trusted. null: not known",
        examples=[0.087],
    )


class UserFleet(BaseModel):
    service: str = Field(examples=[SERVICE])
    replicas: list[Replica] = Field(description="In the order of their names")
    relay: RelayState | None = Field(description="null without a Redis tier")


class UserVitals:
    """The subject of the fleet."""

    def __init__(
        self,
        registry: CollectorRegistry,
        connections: Callable[[], tuple[int, int]],
        heartbeats: CacheHeartbeats | None,
    ) -> None:
        """`connections` returns how many connections for requests are in use, and how many there may be."""
        self._registry = registry
        self._connections = connections
        self._heartbeats = heartbeats
        self._rates = Rates()

    def measure(self) -> Vitals:
        totals = {"requests": answered(self._registry), "memory": 0.0, "redis": 0.0, "database": 0.0}
        for sample in samples(self._registry, _READS, _LOADS):
            if sample.name == _LOADS:
                totals["database"] += sample.value
            elif (sample.labels["tier"], sample.labels["result"]) in _HITS:
                totals[sample.labels["tier"]] += sample.value
        rates = self._rates.add(totals)
        requests = rates.pop("requests")
        in_use, size = self._connections()
        pool = Connections(in_use=in_use, size=size)
        return Vitals(requests_per_second=requests, hits=Hits(**rates), pool=pool)

    def own(self) -> dict[str, Any]:
        return {"relay": any(sample.value for sample in samples(self._registry, _RELAY))}

    async def describe(self, sightings: Sequence[Sighting]) -> UserFleet:
        replicas = [sighting.replica() for sighting in sightings]
        return UserFleet(service=SERVICE, replicas=replicas, relay=self._relay(sightings))

    def _relay(self, sightings: Sequence[Sighting]) -> RelayState | None:
        if self._heartbeats is None:
            return None
        at_work = [each for each in sightings if each.report.own.get("relay") is True and not each.gone]
        latest = min(at_work, key=lambda sighting: sighting.age, default=None)
        lag = self._heartbeats.lag
        return RelayState(
            name=None if latest is None else latest.name,
            epoch=self._heartbeats.epoch,
            lag_seconds=None if lag is None else round(lag, 3),
        )
