"""Entity tags, and the preconditions of RFC 9110 (section 13.1) on them."""

import re
from collections.abc import Iterable

from evenkeel.problems import InvalidInput

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,19}")
_LIST = re.compile(rf"\s*{_TAG.pattern}(?:\s*,\s*{_TAG.pattern})*\s*\Z")


def etag(state: str | int) -> str:
    """The tag of a state that is called so; ASCII without spaces and quotes."""
    return f'"{state}"'


def parse_if_match(header: str | None) -> frozenset[str] | None:
    """The states that `If-Match` accepts; None when the header is absent or `*`, which every existing state matches.

    Weak tags never match (RFC 9110, 8.8.3.2). A header that is no list of tags is an InvalidInput: to ignore it would
    be to write without the precondition that the caller asked for.
    """
    if header is None or header.strip() == "*":
        return None
    return frozenset(tag[1:-1] for tag in _tags(header, "If-Match") if not tag.startswith("W/"))


def numbers(states: Iterable[str] | None) -> frozenset[int] | None:
    """Those of the states that are numbers, as `etag` writes them, for resources whose states are; None stays None."""
    if states is None:
        return None
    return frozenset(int(state) for state in states if _NUMBER.fullmatch(state))


def none_match(header: str | None, current: str | int) -> bool:
    """Whether `If-None-Match` lets the full answer be sent; False means 304. Weak and strong tags compare alike."""
    if header is None:
        return True
    if header.strip() == "*":
        return False
    return etag(current) not in {tag.removeprefix("W/") for tag in _tags(header, "If-None-Match")}


def _tags(header: str, name: str) -> list[str]:
    if not _LIST.match(header):
        raise InvalidInput(
            f'{name} must be * or a list of entity tags such as "7".',
            errors=[{"in": "header", "field": name, "detail": "not a list of entity tags"}],
        )
    return _TAG.findall(header)
