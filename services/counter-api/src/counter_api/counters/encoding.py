"""Operations on one counter as batch.lua reads them, its replies as outcomes, and values as Redis holds them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counter_api.counters.operations import (
    INT64_MAX,
    INT64_MIN,
    Applied,
    Delete,
    Increment,
    Operation,
    Outcome,
    Put,
    RecordKey,
    replay,
)
from counter_api.counters.series import STEPS, UNITS, Unit
from counter_api.problems import CounterNotFound, NotACounter, StateMismatch
from counter_api.redis.calls import Argument
from counter_api.redis.keys import RECORD, SERIES
from evenkeel.http.etags import Tags, numbers
from evenkeel.http.idempotency import IdempotencyMismatch
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import Problem
from evenkeel.redis.scripts import Script

BASE = 10**10
"""A value is sent as two numbers that Lua can hold: value = high * BASE + low (see exact.lua)."""

_CANONICAL = re.compile(rb"0|-?[1-9][0-9]{0,18}")

_json = json.JSONEncoder(separators=(",", ":")).encode

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things are kept, in seconds, and whether a reply waits for replicas of Redis."""

    idempotency_ttl: int
    series_retention: Mapping[Unit, int]
    replicated: bool


class Judged:
    """Each run of operations judged in order, by batch.lua. A run is one operation, or several increments as one."""

    def __init__(
        self, name: str, keys: list[str], runs: Sequence[Sequence[Operation]], terms: Terms, *, script: Script
    ) -> None:
        """`keys` are the counter and the receipt. The script's other keys follow them."""
        self.script = script
        self.keys = keys
        self._name = name
        self._runs = runs
        self._places: dict[str, int] = {}
        self._series: dict[Unit, int] = {}
        encoded = [self._operation(run) for run in runs]
        retention = terms.series_retention
        series = [(self._key(SERIES % (name, unit)), STEPS[unit], retention[unit]) for unit in self._series]
        self._same = f'"keep":{terms.idempotency_ttl},"series":{_json(series)},"operations":{_json(encoded)}'

    def arguments(self, number: int, until: int, *, receipt: bool, listed: int) -> tuple[Argument, ...]:
        differs = f'"number":{number},"until":{until},"listed":{listed},"receipt":{_json(receipt)}'
        return (f"{{{differs},{self._same}}}",)

    def outcomes(self, reply: bytes) -> list[Outcome]:
        """What became of each operation."""
        outcomes: list[Outcome] = []
        for run, word in zip(self._runs, reply.split(b" "), strict=True):
            if word.startswith(b"r"):
                outcomes.extend(map(replay, _outcomes(run, word[1:])))
            else:
                outcomes.extend(_outcomes(run, word))
        return outcomes

    def _operation(self, run: Sequence[Operation]) -> dict[str, Any]:
        operation = run[0]
        encoded: dict[str, Any]
        match operation:
            case Increment():
                encoded = self._increment(operation)
                if len(run) > 1:
                    encoded["add"] = _pair(sum(each.by for each in run if isinstance(each, Increment)))
                    encoded["joined"] = True
            case Put():
                encoded = {"set": _pair(operation.value)}
            case Delete():
                encoded = {"delete": [self._key(SERIES % (self._name, unit)) for unit in UNITS]}
        if operation.preconditions is not None:
            encoded |= _preconditions(operation.preconditions)
        if operation.once is not None:
            encoded["once"] = self._record(operation.once)
        return encoded

    def _increment(self, operation: Increment) -> dict[str, Any]:
        encoded: dict[str, Any] = {"add": _pair(operation.by)}
        if operation.minimum is not None or operation.maximum is not None:
            lowest, highest = operation.allowed()
            encoded |= {"least": _pair(lowest), "most": _pair(highest)}
        if operation.ttl is not None:
            encoded["ttl"] = operation.ttl
        if operation.series:
            encoded["series"] = [self._series.setdefault(unit, len(self._series) + 1) for unit in operation.series]
        return encoded

    def _record(self, once: RecordKey) -> tuple[int, str]:
        return self._key(RECORD % (self._name, once.record)), once.fingerprint

    def _key(self, key: str) -> int:
        """The key's number in KEYS."""
        if key not in self._places:
            self.keys.append(key)
            self._places[key] = len(self.keys)
        return self._places[key]


def _outcomes(run: Sequence[Operation], word: bytes) -> Iterator[Outcome]:
    sign, rest = word[:1], word[1:]
    if sign != b"+":
        yield from (_outcome(operation, sign, rest) for operation in run)
        return
    value = int(rest)
    for operation in run:
        assert isinstance(operation, Increment)  # noqa: S101 (no other operation gets this reply)
        value += operation.by
        yield Applied(value)


def _outcome(operation: Operation, sign: bytes, rest: bytes) -> Outcome:
    match sign, operation:
        case b"=" | b"c", Put():
            return Applied(operation.value, created=sign == b"c")
        case b"=", Delete():
            return Applied(0)
    return _problem(operation, sign, rest)


def _problem(operation: Operation, sign: bytes, rest: bytes) -> Problem:
    match sign, operation:
        case b"<", Increment():
            return operation.refusal(int(rest))
        case b"s", Increment():
            return operation.series_refusal(operation.series[int(rest[:1]) - 1], int(rest[1:]))
        case b"!", _:
            return IdempotencyMismatch()
        case b"w", _:
            return NotACounter()
        case b"x", _:
            return CounterNotFound(operation.name)
        case b"u", _ if operation.preconditions is not None:
            return StateMismatch(operation.preconditions, int(rest) if rest else None)
    raise AssertionError(f"the script replied {sign + rest!r} to {operation}")


def _pair(value: int) -> Pair:
    return divmod(value, BASE)


def _preconditions(preconditions: Preconditions) -> dict[str, Any]:
    fields = {"match": preconditions.match, "none": preconditions.none_match}
    return {name: _accepted(tags) for name, tags in fields.items() if tags is not None}


def _accepted(tags: Tags) -> Any:
    """Tags that no counter can have are left out, since they are equal to none."""
    if tags.every:
        return True
    return [_pair(value) for value in numbers(tags.states) or () if INT64_MIN <= value <= INT64_MAX]


def integer(text: bytes | None) -> int | None:
    """The value of a counter, or None for nothing and for what is no canonical 64-bit integer."""
    if text is None or not _CANONICAL.fullmatch(text):
        return None
    value = int(text)
    return value if INT64_MIN <= value <= INT64_MAX else None
