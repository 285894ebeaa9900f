"""What a replica says about itself in a heartbeat, and how a reader of the fleet shows it."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MISSED = 3.0
"""Seconds without a heartbeat after which a replica counts as gone."""

LONGEST_REASON = 500
"""Characters of a reason. Heartbeats stay small."""

State = Literal["starting", "ready", "not-ready", "draining"]

Rate = float


class Hits(BaseModel):
    """Reads a second that each tier has answered. For the database: queries of the cache, which many readers share."""

    memory: Rate = Field(ge=0, examples=[790.2])
    redis: Rate = Field(ge=0, examples=[12.0])
    database: Rate = Field(ge=0, examples=[1.4])


class Connections(BaseModel):
    in_use: int = Field(ge=0, description="Those that do something now", examples=[2])
    size: int = Field(ge=0, description="How many there are, or may be", examples=[10])


class Vitals(BaseModel):
    """What a replica measures."""

    requests_per_second: Rate = Field(
        ge=0, description="Over the last five seconds, without probes and without requests for the fleet"
    )
    hits: Hits | None = Field(description="Over the last five seconds. null: the service has no tiers")
    pool: Connections


class Report(Vitals):
    """A heartbeat, as it is written in Redis. A replica of another release may write other members."""

    state: State
    reason: str | None
    started_at: datetime
    own: dict[str, Any] = {}
    """What only this service reports."""


class Standing(BaseModel):
    name: str
    state: Literal["starting", "ready", "not-ready", "draining", "gone"] = Field(
        description=f"`gone`: no heartbeat for {MISSED:g} seconds. After a minute the replica is not listed any more"
    )
    reason: str | None = Field(
        description="What /readyz says: why the replica is not ready, or what a ready one warns about"
    )
    started_at: datetime
    seen_at: datetime = Field(description="When its last heartbeat came")


class Replica(Vitals, Standing):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "a",
                    "state": "not-ready",
                    "reason": "postgresql: no answer within 2 s",
                    "started_at": "2026-11-26T12:00:00Z",
                    "seen_at": "2026-11-26T12:30:00.412Z",
                    "requests_per_second": 812.4,
                    "hits": {"memory": 790.2, "redis": 12.0, "database": 1.4},
                    "pool": {"in_use": 2, "size": 10},
                }
            ]
        }
    )


class Sighting:
    """A replica's report, and how long ago it came."""

    def __init__(self, name: str, age: float, report: Report) -> None:
        self.name = name
        self.report = report
        self.age = age
        self.gone = age >= MISSED

    def replica(self) -> Replica:
        """As the fleet lists it. A replica that is gone does nothing."""
        report = self.report
        seen_at = _milliseconds(datetime.now(UTC) - timedelta(seconds=self.age))
        shown = report.model_dump(include=set(Vitals.model_fields))
        about: dict[str, Any] = {"state": report.state, "reason": report.reason}
        if self.gone:
            about = {"state": "gone", "reason": f"no heartbeat for {self.age:.0f} s"}
            shown["requests_per_second"] = 0.0
            shown["hits"] = shown["hits"] and dict.fromkeys(shown["hits"], 0.0)
            shown["pool"]["in_use"] = 0
        return Replica(name=self.name, started_at=report.started_at, seen_at=seen_at, **about, **shown)


def started_now() -> datetime:
    return _milliseconds(datetime.now(UTC))


def shortened(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"


def _milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
