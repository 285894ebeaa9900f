"""Counters as Redis holds them: canonical decimal strings."""

import re

from counter_api.counters.operations import INT64_MAX, INT64_MIN

_CANONICAL = re.compile(rb"0|-?[1-9][0-9]{0,18}")


def integer(text: bytes | None) -> int | None:
    """The value of a counter, or None for nothing and for what is no canonical 64-bit integer."""
    if text is None or not _CANONICAL.fullmatch(text):
        return None
    value = int(text)
    return value if INT64_MIN <= value <= INT64_MAX else None
