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

# Strict: 1.0, "1" and true are mistakes, and are not converted.
Int64 = Annotated[int, Field(strict=True, ge=INT64_MIN, le=INT64_MAX)]
TimeToLive = Annotated[int, Field(strict=True, ge=1, le=TEN_YEARS)]


def _in_their_order(series: list[Unit]) -> list[Unit]:
    """Each once, in one order: the order of the names makes no difference."""
    return [unit for unit in UNITS if unit in series]


# With a name, which generators of clients use.
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
        None, description="seconds until the counter expires; used only if this call creates it"
    )

    # pydantic makes a deep copy of a default list for each operation, which would be a quarter of a large batch's cost.
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


class CounterProblemDocument(ProblemDocument):
    name: str = Field("", description="The counter, if the request named several")
    current: Int64 | None = Field(None, description="With 409 and 412: the value, unchanged; null: no counter")
    series: SeriesUnit = Field("minute", description="The series that would overflow; `current` is its bucket's value")
    line: int = Field(0, ge=1, description="In an import: the line that is wrong")
    applied: int = Field(0, ge=0, description="In an import: how many counters were set before that line")


class BatchResults(BaseModel):
    results: list[Counter | CounterProblemDocument] = Field(description="one for each operation, in the same order")


class SeriesQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    unit: SeriesUnit = Field(description="which series")
    last: WholeNumber = Field(24, ge=1, le=1000, description="how many buckets, including the present one")


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
    after: CounterName | None = Field(None, description="only names after this one, as `Link: rel=next` has it")


class Visits(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"current_count": 7}]})

    current_count: int
