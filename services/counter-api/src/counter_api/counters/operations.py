"""What can be done to a counter, and the arithmetic that decides whether it is permitted.

The arithmetic is done here, in Python, on integers of any size. A store only compares the counter's present value with
the interval computed here. Numbers in Redis' scripts are doubles, which are exact up to 2^53 only.
"""

from dataclasses import dataclass, replace

from counter_api.counters.series import Unit
from counter_api.problems import CounterBound, CounterOverflow
from evenkeel.http.idempotency import REPLAYED, RequestKey, fingerprint, replayed
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import Problem

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

VISITS = "_visits"
"""Reserved name of the counter behind GET /counter. No caller's name begins with an underscore."""


@dataclass(frozen=True, slots=True)
class RecordKey:
    """An Idempotency-Key as the stores see it: the record, and a digest of what the key was used for."""

    record: str
    fingerprint: str


def once(key: RequestKey, *payload: object, part: int | None = None) -> RecordKey:
    """`part` is the place of an operation in a request that has several."""
    return RecordKey(record=key.digest(*([] if part is None else [part])), fingerprint=fingerprint(*payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """Add `by` if the sum lies in [minimum, maximum]. `ttl` is in seconds and counts from the counter's creation.

    The same is added to the counter and to all its `series`, or to none of them. The `preconditions` must hold, as
    those of a Put and a Delete.
    """

    name: str
    by: int = 1
    minimum: int | None = None
    maximum: int | None = None
    ttl: int | None = None
    series: tuple[Unit, ...] = ()
    preconditions: Preconditions | None = None
    once: RecordKey | None = None

    def allowed(self) -> tuple[int, int]:
        """The lowest and highest present value to which `by` may be added; there is none if lowest > highest.

        The ends may lie outside the 64-bit range.
        """
        lowest = INT64_MIN if self.minimum is None else max(INT64_MIN, self.minimum)
        highest = INT64_MAX if self.maximum is None else min(INT64_MAX, self.maximum)
        return max(INT64_MIN, lowest - self.by), min(INT64_MAX, highest - self.by)

    def refusal(self, current: int) -> Problem:
        """The problem if the present value is outside `allowed`."""
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
        """The problem if `by` does not fit into the series' present bucket, which holds `bucket`."""
        return CounterOverflow(
            f"The {unit}'s {bucket} + {self.by} does not fit into 64 bits; nothing was changed.",
            name=self.name,
            series=unit,
            current=bucket,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Set the value. A time to live is kept."""

    name: str
    value: int
    preconditions: Preconditions | None = None
    once: RecordKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    name: str
    preconditions: Preconditions | None = None
    once: RecordKey | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The value after the operation, 0 after a Delete. If `replayed`, that was when the key was first used."""

    value: int
    replayed: bool = False
    created: bool = False
    """Whether a Put made the counter."""


Operation = Increment | Put | Delete
Outcome = Applied | Problem


def replay(outcome: Outcome) -> Outcome:
    """The same outcome for a request that sends the key again."""
    return replace(outcome, replayed=True) if isinstance(outcome, Applied) else replayed(outcome)


def is_replay(outcome: Outcome) -> bool:
    return outcome.replayed if isinstance(outcome, Applied) else outcome.headers.items() >= REPLAYED.items()
