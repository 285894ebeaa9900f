"""Entity tags that are a number, and the preconditions of RFC 9110 (section 13.1) on them."""

import re

from evenkeel.problems import InvalidInput, PreconditionFailed

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_NUMBER = re.compile(r'"(0|-?[1-9][0-9]{0,19})"')
_LIST = re.compile(rf"\s*{_TAG.pattern}(?:\s*,\s*{_TAG.pattern})*\s*\Z")


def etag(number: int) -> str:
    return f'"{number}"'


def parse_if_match(header: str | None) -> frozenset[int] | None:
    """The numbers that `If-Match` accepts; None when the header is absent or `*`, which every existing state matches.

    Weak tags never match (RFC 9110, 8.8.3.2). A header that is no list of tags is an InvalidInput: to ignore it would
    be to write without the precondition that the caller asked for.
    """
    if header is None or header.strip() == "*":
        return None
    return frozenset(
        int(tag[1:-1]) for tag in _tags(header, "If-Match") if re.fullmatch(r'"(0|-?[1-9][0-9]{0,19})"', tag)
    )


def check_if_match(header: str | None, current: int) -> None:
    """Raise PreconditionFailed unless `If-Match` accepts the current number."""
    accepted = parse_if_match(header)
    if accepted is not None and current not in accepted:
        raise PreconditionFailed(f"If-Match does not name the current state, {etag(current)}.", current=current)


def none_match(header: str | None, current: int) -> bool:
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
