"""Preconditions on counters, whose entity tags are their values."""

from evenkeel.etags import etag
from evenkeel.preconditions import Preconditions
from evenkeel.problems import PreconditionFailed


def unmet(asked: Preconditions, current: int | None) -> PreconditionFailed:
    """Say which of them does not hold; None: there is no such counter."""
    if current is None:
        sentence = "If-Match names a counter that does not exist."
    elif asked.match is not None and not asked.match.cover(current):
        sentence = f"If-Match does not name the current value, {etag(current)}."
    elif asked.none_match is not None and asked.none_match.every:
        sentence = f"If-None-Match asks that there be no such counter; its value is {etag(current)}."
    else:
        sentence = f"If-None-Match names the current value, {etag(current)}."
    return PreconditionFailed(sentence, current=current)
