"""The problems of counter-api, beside those that every service has."""

from evenkeel.http.problems import Problem, Unavailable


class CounterBound(Problem):
    """The sum would leave [min, max]; `current` is the value that stays."""

    slug, title, status = "counter-bound", "The counter would pass its bound", 409


class CounterOverflow(Problem):
    """The sum does not fit into 64 bits; `current` is the value that stays."""

    slug, title, status = "counter-overflow", "The counter would leave the signed 64-bit range", 409


class NotACounter(Problem):
    """Another program wrote something under the counter's key."""

    slug, title, status = "not-a-counter", "What is stored there is no counter", 409

    def __init__(self) -> None:
        super().__init__("The counter's key holds data that is not a signed 64-bit integer; nothing was changed.")


class NothingApplied(Unavailable):
    """Redis surely did not execute the command, so a retry is safe even without a key."""


class Unreachable(NothingApplied):
    """Redis could not be reached, so nothing was sent."""


class NotListed(NothingApplied):
    """The counter was not made, because its name was not listed first, or too long ago."""


class OutcomeUnknown(Unavailable):
    """The command was sent and no answer came back."""
