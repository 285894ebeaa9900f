"""Bodies of requests and answers, as JSON and in the OpenAPI document."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypeAliasType

from counter_api.counters.operations import INT64_MAX, INT64_MIN
from counter_api.counters.series import UNITS, Unit
from counter_api.parameters import CounterName, Prefix, WholeNumber
from evenkeel.http.problems import ProblemDocument

TEN_YEARS = 10 * 365 * 86_400
"""Seconds."""

# Strict: 1.0, "1" and true are mistakes of the caller's, and a counter is the wrong place to guess.
Int64 = Annotated[int, Field(strict=True, ge=INT64_MIN, le=INT64_MAX)]
TimeToLive = Annotated[int, Field(strict=True, ge=1, le=TEN_YEARS)]


def _in_their_order(series: list[Unit]) -> list[Unit]:
    """Each once: in whatever order they are named, they ask for the same."""
    return [unit for unit in UNITS if unit in series]


# The same type by a name, which generators give to theirs.
SeriesUnit = TypeAliasType("SeriesUnit", Unit)


class Counter(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "downloads", "value": 42}]})

    name: str
    value: Int64 = Field(description="signed 64-bit")


class CounterPage(BaseModel):
    data: list[Counter]


class IncrementRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"by": 1},
                {"by": -1, "min": 0},
                {"by": 5, "max": 100, "ttl": 3600},
                {"by": 1, "series": ["hour", "day"]},
            ]
        },
    )

    by: Int64 = 1
    min: Int64 | None = Field(None, description="refuse to leave a value below this one")
    max: Int64 | None = Field(None, description="refuse to leave a value above this one")
    ttl: TimeToLive | None = Field(
        None, description="seconds until the counter is gone; counts only if this call creates it"
    )

    # Of a list given as the default, pydantic makes a deep copy each time: a quarter of what a large batch costs.
    series: Annotated[list[SeriesUnit], Field(max_length=len(UNITS)), AfterValidator(_in_their_order)] = Field(
        default_factory=list, description="also add it to the present minute, hour or day (UTC) of these series"
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not be greater than max")
        return self


class PutRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"value": 42}]})

    value: Int64


class BatchOperation(IncrementRequest):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "downloads", "by": 1}]})

    name: CounterName


class BatchRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    operations: list[BatchOperation] = Field(min_length=1, max_length=1000)


class Problem(ProblemDocument):
    name: str = Field("", description="The counter, where several were asked for")
    current: Int64 | None = Field(None, description="Of 409 and 412: the value that stays; null: there is no counter")
    series: SeriesUnit = Field("minute", description="The one whose bucket would overflow; `current` is the bucket's")
    line: int = Field(0, ge=1, description="Of an import: the one that is wrong")
    applied: int = Field(0, ge=0, description="Of an import: counters that were set before it")


class BatchResults(BaseModel):
    results: list[Counter | Problem] = Field(description="one for each operation, in their order")


class SeriesQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    unit: SeriesUnit = Field(description="which series")
    last: WholeNumber = Field(24, ge=1, le=1000, description="how many buckets, the present one included")


class SeriesBucket(BaseModel):
    start: datetime
    value: Int64 = Field(description="signed 64-bit")


class Series(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "downloads", "unit": "hour", "data": [{"start": "2026-01-31T23:00:00Z", "value": 42}]}
            ]
        }
    )

    name: str
    unit: SeriesUnit
    data: list[SeriesBucket] = Field(description="oldest first, without gaps")


class ListQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prefix: Prefix = Field("", description="only names that start with it")
    limit: WholeNumber = Field(100, ge=1, le=1000)
    after: CounterName | None = Field(None, description="only names behind this one, as `Link: rel=next` gives it")


class Visits(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"current_count": 7}]})

    current_count: int
