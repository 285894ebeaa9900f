"""Preconditions on counters, whose entity tags are their values."""

from evenkeel.http.etags import etag
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import PreconditionFailed


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
