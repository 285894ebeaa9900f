"""The problems of counter-api, beside those that every service has."""

from evenkeel.http.etags import etag
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import NotFound, PreconditionFailed, Problem, Unavailable


class CounterNotFound(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is no counter {name}.")


class StateMismatch(PreconditionFailed):
    """`If-Match` or `If-None-Match` does not hold; `current` is the value, None if there is no such counter."""

    def __init__(self, preconditions: Preconditions, current: int | None) -> None:
        if current is None:
            sentence = "If-Match names a counter that does not exist."
        elif not preconditions.matched(current):
            sentence = f"If-Match does not name the current value, {etag(current)}."
        elif preconditions.none_match is not None and preconditions.none_match.every:
            sentence = f"If-None-Match requires that there is no such counter; its value is {etag(current)}."
        else:
            sentence = f"If-None-Match names the current value, {etag(current)}."
        super().__init__(sentence, current=current)


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
