"""Entity tags, and the preconditions of RFC 9110 (section 13.1) on them."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from evenkeel.http.problems import InvalidInput

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,19}")
# Elements may be empty (RFC 9110, 5.6.1).
_ELEMENT = rf"[ \t]*(?:{_TAG.pattern}[ \t]*)?"
_LIST = re.compile(rf"{_ELEMENT}(?:,{_ELEMENT})*\Z")


class Tags(NamedTuple):
    """What `If-Match` or `If-None-Match` names."""

    every: bool
    """`*`: any state."""

    states: frozenset[str]

    def cover(self, state: str | int | None) -> bool:
        """Whether the resource is in one of the states. None means that it does not exist."""
        return state is not None and (self.every or str(state) in self.states)

    def __str__(self) -> str:
        return "*" if self.every else ",".join(map(etag, sorted(self.states)))


def etag(state: str | int) -> str:
    """The tag of the state with this name, which is ASCII without spaces and quotes."""
    return f'"{state}"'


def parse_tags(header: str | None, name: str, *, weak: bool) -> Tags | None:
    """The tags in the header field of this name; None if it is absent. Raise InvalidInput if it is not a list.

    `weak`: whether weak tags compare like strong ones (RFC 9110, 8.8.3.2), or never match.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return Tags(every=True, states=frozenset())
    return Tags(every=False, states=frozenset(_states(header, name, weak=weak)))


def numbers(states: Iterable[str] | None) -> frozenset[int] | None:
    """The states that are numbers, as `etag` writes them. For resources whose states are numbers. None stays None."""
    if states is None:
        return None
    return frozenset(int(state) for state in states if _NUMBER.fullmatch(state))


def _states(header: str, name: str, *, weak: bool) -> list[str]:
    tags = _TAG.findall(header)
    if not tags or not _LIST.match(header):
        raise InvalidInput(
            f'{name} must be * or a list of entity tags such as "7".',
            errors=[{"in": "header", "field": name, "detail": "not a list of entity tags"}],
        )
    return [tag.removeprefix("W/")[1:-1] for tag in tags if weak or not tag.startswith("W/")]
