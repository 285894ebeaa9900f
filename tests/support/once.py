"""Idempotency keys and preconditions in the form in which a store of counters gets them."""

from collections.abc import Set as AbstractSet
from typing import Literal

from counter_api.counters import operations
from evenkeel.http.etags import Tags
from evenkeel.http.idempotency import RequestKey
from evenkeel.http.preconditions import Preconditions

Values = AbstractSet[int] | Literal["*"]


def once(text: str, *payload: object) -> operations.RecordKey:
    """The key of an anonymous caller, always for the same path."""
    return operations.once(RequestKey("", "POST", "/", text), *payload)


def asking(match: Values | None = None, none_match: Values | None = None) -> Preconditions:
    """`If-Match` and `If-None-Match` with these values."""
    return Preconditions(_tags(match), _tags(none_match))


def _tags(values: Values | None) -> Tags | None:
    if values is None:
        return None
    return Tags(every=values == "*", states=frozenset(str(value) for value in values if value != "*"))
