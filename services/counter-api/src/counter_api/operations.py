"""What can be done to a counter, and the arithmetic that says whether it may be.

The arithmetic is done here, in Python, on integers of any size: a store only has to compare the counter's present
value with the interval computed here. Redis' own numbers in scripts are doubles, exact up to 2^53 only.
"""

import hashlib
import json
from dataclasses import dataclass

from counter_api.problems import CounterBound, CounterOverflow
from counter_api.series import Unit
from evenkeel.etags import etag
from evenkeel.problems import NotFound, PreconditionFailed, Problem

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

VISITS = "_visits"
"""Reserved name of the counter behind GET /counter: no caller's counter can start with an underscore."""


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key as the stores see it: which record, and what it must have been used for."""

    record: str
    fingerprint: str


def once(key: str, *payload: object) -> Once:
    """Digest both: a key may be a secret of the caller's, and any key has the same length."""
    return Once(record=_digest(key), fingerprint=_digest(json.dumps(payload)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """Add `by` if the sum lies in [minimum, maximum]; `ttl` is in seconds and counts from the counter's creation.

    What is added to the counter is added to its `series` too, or to none of them.
    """

    name: str
    by: int = 1
    minimum: int | None = None
    maximum: int | None = None
    ttl: int | None = None
    series: tuple[Unit, ...] = ()
    once: Once | None = None

    @property
    def unconditional(self) -> bool:
        """Whether it can be added together with others like it."""
        return self.once is None and self.minimum is None and self.maximum is None and self.ttl is None

    @property
    def plain(self) -> bool:
        """Whether there is nothing to it but a number."""
        return not self.series and self.unconditional

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


@dataclass(frozen=True, slots=True)
class Condition:
    """`If-Match`: the counter exists, and its value is one of `accepted` (None: whatever it is)."""

    accepted: frozenset[int] | None

    def unmet(self, current: int | None) -> PreconditionFailed:
        if current is None:
            return PreconditionFailed("If-Match names a counter that does not exist.", current=None)
        return PreconditionFailed(f"If-Match does not name the current value, {etag(current)}.", current=current)

    def holds(self, current: int | None) -> bool:
        return current is not None and (self.accepted is None or current in self.accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Set the value; a time to live goes on."""

    name: str
    value: int
    condition: Condition | None = None
    once: Once | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    name: str
    condition: Condition | None = None
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The value an operation left behind (0 by a Delete), now or, `replayed`, when its key was first used."""

    value: int
    replayed: bool = False


Operation = Increment | Put | Delete
Outcome = Applied | Problem


def no_such_counter(name: str) -> NotFound:
    return NotFound(f"There is no counter {name}.")
