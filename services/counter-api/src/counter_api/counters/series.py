"""Time buckets beside a counter: how much was added to it in each minute, hour or day (UTC)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Unit = Literal["minute", "hour", "day"]

STEPS: Mapping[Unit, int] = {"minute": 60, "hour": 3600, "day": 86_400}
"""Seconds of one bucket."""

UNITS: tuple[Unit, ...] = tuple(STEPS)

MOST_BUCKETS = 10_000
"""Of one series. Whenever a new bucket begins, pruning looks at all of them."""


@dataclass(frozen=True, slots=True)
class Bucket:
    start: int
    """Seconds since 1970-01-01T00:00Z."""
    value: int


def bucket_start(unit: Unit, moment: float) -> int:
    """`moment` and the result are in seconds since 1970-01-01T00:00Z."""
    return int(moment) - int(moment) % STEPS[unit]


def rfc3339(moment: int) -> str:
    """`moment` is in seconds since 1970-01-01T00:00Z."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
