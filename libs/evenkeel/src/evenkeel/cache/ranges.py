"""Ranges of keys that were forgotten together. Each has a token, which is part of its keys' names from then on.

Keys outside all ranges, and keys that are no integers, have no token. Their names do not change.
"""

import re
import secrets
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

MOST_RANGES = 8
"""Ranges at most. The text that lists them is read with every key."""

TOKEN_LENGTH = 8

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
# As PostgreSQL writes a bigint: one key has one name.

_RANGE = re.compile(rf"(?P<low>-?[0-9]{{1,19}})\.\.(?P<high>-?[0-9]{{1,19}})=(?P<token>[0-9a-f]{{{TOKEN_LENGTH}}})")


@dataclass(frozen=True, slots=True)
class _Range:
    """Both ends belong to it."""

    low: int
    high: int
    token: str

    def __str__(self) -> str:
        return f"{self.low}..{self.high}={self.token}"

    def without(self, low: int, high: int) -> Iterable["_Range"]:
        """What is left of it outside of these ends."""
        if self.low < low:
            yield _Range(self.low, min(self.high, low - 1), self.token)
        if high < self.high:
            yield _Range(max(self.low, high + 1), self.high, self.token)


def span_of(keys: Iterable[str]) -> tuple[int, int] | None:
    """The lowest and the highest of the keys; None if there are none, or one of them is in no range."""
    keys = list(keys)
    if not all(map(_INTEGER.fullmatch, keys)):
        return None
    numbers = [int(key) for key in keys]
    return (min(numbers), max(numbers)) if numbers else None


class KeyRanges:
    """Disjoint ranges, in order; as text joined by `;`."""

    __slots__ = ("_lows", "_ranges")

    def __init__(self, ranges: Iterable[_Range] = ()) -> None:
        self._ranges = tuple(ranges)
        self._lows = [each.low for each in self._ranges]

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __str__(self) -> str:
        return ";".join(map(str, self._ranges))

    @classmethod
    def parse(cls, text: str) -> "KeyRanges":
        """ValueError for what `str` does not make."""
        ranges = []
        for part in filter(None, text.split(";")):
            match = _RANGE.fullmatch(part)
            if match is None:
                raise ValueError(f"no range of keys: {part!r}")
            ranges.append(_Range(int(match["low"]), int(match["high"]), match["token"]))
        parsed = cls(ranges)
        if str(parsed) != text or any(a.high >= b.low for a, b in pairwise(ranges)):
            raise ValueError(f"no ranges of keys: {text!r}")
        return parsed

    def token(self, key: str) -> str | None:
        """The token of the key's range; None if the key is in none."""
        if _INTEGER.fullmatch(key) is None:
            return None
        number = int(key)
        found = bisect_right(self._lows, number) - 1
        return self._ranges[found].token if found >= 0 and number <= self._ranges[found].high else None

    def adding(self, added: Iterable[tuple[int, int]]) -> "KeyRanges":
        """These and the `added` ones (low, high), whose keys get a token that no key has had.

        If there are too many ranges, two neighbours become one, under that token as well, and the keys between them
        are forgotten, too. These are the neighbours that together span the fewest keys.
        """
        token = secrets.token_hex(TOKEN_LENGTH // 2)
        ranges = list(self._ranges)
        for low, high in added:
            ranges = [piece for each in ranges for piece in each.without(low, high)]
            ranges.append(_Range(low, high, token))
            ranges.sort(key=lambda each: each.low)
            while len(ranges) > MOST_RANGES:
                spans = [after.high - before.low for before, after in pairwise(ranges)]
                first = spans.index(min(spans))
                ranges[first : first + 2] = [_Range(ranges[first].low, ranges[first + 1].high, token)]
        return KeyRanges(ranges)
