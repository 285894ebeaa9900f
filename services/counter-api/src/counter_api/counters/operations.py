"""What can be done to a counter, and the arithmetic that says whether it may be.

The arithmetic is done here, in Python, on integers of any size: a store only has to compare the counter's present
value with the interval computed here. Redis' own numbers in scripts are doubles, exact up to 2^53 only.
"""

from dataclasses import dataclass, replace

from counter_api.counters.series import Unit
from counter_api.problems import CounterBound, CounterOverflow
from evenkeel.http.etags import etag
from evenkeel.http.idempotency import REPLAYED, RequestKey, fingerprint, replayed
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import NotFound, PreconditionFailed, Problem

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

VISITS = "_visits"
"""Reserved name of the counter behind GET /counter: no caller's counter can start with an underscore."""


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key as the stores see it: which record, and what it must have been used for."""

    record: str
    fingerprint: str


def once(key: RequestKey, *payload: object, part: int | None = None) -> Once:
    """`part` tells apart what one request asks for."""
    return Once(record=key.digest(*([] if part is None else [part])), fingerprint=fingerprint(*payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """Add `by` if the sum lies in [minimum, maximum]; `ttl` is in seconds and counts from the counter's creation.

    What is added to the counter is added to its `series` too, or to none of them. Its `preconditions`, and those
    of a Put and a Delete, must hold as well.
    """

    name: str
    by: int = 1
    minimum: int | None = None
    maximum: int | None = None
    ttl: int | None = None
    series: tuple[Unit, ...] = ()
    preconditions: Preconditions | None = None
    once: Once | None = None

    def allowed(self) -> tuple[int, int]:
        """The lowest and highest present value to which `by` may be added; empty when lowest > highest.

        The ends may lie outside the 64-bit range.
        """
        lowest = INT64_MIN if self.minimum is None else max(INT64_MIN, self.minimum)
        highest = INT64_MAX if self.maximum is None else min(INT64_MAX, self.maximum)
        return max(INT64_MIN, lowest - self.by), min(INT64_MAX, highest - self.by)

    def refusal(self, current: int) -> Problem:
        """Say why `by` cannot be added to a present value outside `allowed`."""
        value = current + self.by
        if not INT64_MIN <= value <= INT64_MAX:
            return CounterOverflow(
                f"{current} + {self.by} does not fit into 64 bits; nothing was changed.",
                name=self.name,
                current=current,
            )
        bound = "min" if self.minimum is not None and value < self.minimum else "max"
        limit = self.minimum if bound == "min" else self.maximum
        return CounterBound(
            f"{current} + {self.by} would pass the {bound} of {limit}; nothing was changed.",
            name=self.name,
            current=current,
        )

    def series_refusal(self, unit: Unit, bucket: int) -> Problem:
        """Say that `by` cannot be added to the series' present bucket, which holds `bucket`."""
        return CounterOverflow(
            f"The {unit}'s {bucket} + {self.by} does not fit into 64 bits; nothing was changed.",
            name=self.name,
            series=unit,
            current=bucket,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Set the value; a time to live goes on."""

    name: str
    value: int
    preconditions: Preconditions | None = None
    once: Once | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    name: str
    preconditions: Preconditions | None = None
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The value an operation left behind (0 by a Delete), now or, `replayed`, when its key was first used."""

    value: int
    replayed: bool = False
    created: bool = False
    """By a Put: there was no such counter."""


Operation = Increment | Put | Delete
Outcome = Applied | Problem


def replay(outcome: Outcome) -> Outcome:
    """The same outcome, told to somebody who sends its key again."""
    return replace(outcome, replayed=True) if isinstance(outcome, Applied) else replayed(outcome)


def is_replay(outcome: Outcome) -> bool:
    return outcome.replayed if isinstance(outcome, Applied) else outcome.headers.items() >= REPLAYED.items()


def no_such_counter(name: str) -> NotFound:
    return NotFound(f"There is no counter {name}.")


def unmet(preconditions: Preconditions, current: int | None) -> PreconditionFailed:
    """Say which of them does not hold; None: there is no such counter."""
    if current is None:
        sentence = "If-Match names a counter that does not exist."
    elif not preconditions.matched(current):
        sentence = f"If-Match does not name the current value, {etag(current)}."
    elif preconditions.none_match is not None and preconditions.none_match.every:
        sentence = f"If-None-Match asks that there be no such counter; its value is {etag(current)}."
    else:
        sentence = f"If-None-Match names the current value, {etag(current)}."
    return PreconditionFailed(sentence, current=current)
