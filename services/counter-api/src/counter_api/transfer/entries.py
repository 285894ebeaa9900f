"""One counter as a line of NDJSON."""

import json
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from counter_api.counters.schemas import TEN_YEARS, Int64, TimeToLive
from counter_api.parameters import CounterName
from evenkeel.http.problems import InvalidInput, MalformedJson, Problem

LONGEST_LINE = 1024
"""Bytes; no counter needs more than 250."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`ttl` is in seconds from now; None: the counter does not expire."""

    name: str
    value: int
    ttl: int | None = None


_MARKS_OF_VALUES = 2
"""Quotation marks around the values of a line: only the value of `name` is text."""


class CounterLine(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "downloads", "value": 42}, {"name": "a", "value": 1, "ttl": 60}]},
    )

    name: CounterName
    value: Int64
    ttl: TimeToLive | None = None


def render(entry: Entry) -> str:
    line: dict[str, str | int] = {"name": entry.name, "value": entry.value}
    if entry.ttl is not None:
        line["ttl"] = min(entry.ttl, TEN_YEARS)
    return json.dumps(line, separators=(",", ":")) + "\n"


def parse(number: int, text: bytes) -> Entry:
    """The entry in a line; raise InvalidInput or MalformedJson, which say the number of the line."""
    if len(text) > LONGEST_LINE:
        raise InvalidInput(f"Line {number} is longer than {LONGEST_LINE} bytes.", line=number)
    try:
        line = CounterLine.model_validate_json(text)
    except ValidationError as error:
        raise _problem(number, error) from None
    # Pydantic keeps the last of several members of one name. Valid names and values contain no quotation marks.
    if text.count(b'"') != 2 * len(line.model_fields_set) + _MARKS_OF_VALUES:
        raise InvalidInput(f"Line {number}: Send each member once.", line=number)
    return Entry(line.name, line.value, line.ttl)


def _problem(number: int, error: ValidationError) -> Problem:
    # What was sent is left out on purpose, as in all problems: it may be anything.
    failure = error.errors(include_input=False, include_url=False)[0]
    if failure["type"] == "json_invalid":
        return MalformedJson(f"Line {number} is not JSON in UTF-8.", line=number)
    field = "" if failure["type"] == "extra_forbidden" else ".".join(map(str, failure["loc"]))
    return InvalidInput(
        f"Line {number}: {field + ': ' if field else ''}{failure['msg']}.",
        errors=[{"in": "body", "field": field, "detail": failure["msg"]}],
        line=number,
    )
