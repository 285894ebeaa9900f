"""Reading the answers of counter-api."""

from typing import Any

from verify.connection import Reply

UNKNOWN = frozenset({502, 503, 504})
"""Statuses after which an increment may or may not have been applied."""


class UnexpectedAnswer(Exception):
    """The contract does not allow this answer."""


class ForeignAnswer(Exception):
    """The answer belongs to another request."""


def document(reply: Reply) -> dict[str, Any]:
    """The JSON object of a success. Raises UnexpectedAnswer if it is not one."""
    try:
        found = reply.json()
    except ValueError:
        found = None
    if reply.status != 200 or not isinstance(found, dict):
        raise UnexpectedAnswer(f"status {reply.status} with {reply.body[:200]!r}")
    return found


def value(name: str, answer: object) -> int | None:
    """The value of the counter of this name; None in a problem that leaves the outcome unknown.

    Raises UnexpectedAnswer or ForeignAnswer.
    """
    match answer:
        case {"name": str(found), "value": int(number)} if not isinstance(number, bool):
            if found != name:
                raise ForeignAnswer(f"{name} was asked for, and {found} was answered")
            return number
        case {"status": int(status)} if status in UNKNOWN:
            return None
    raise UnexpectedAnswer(f"{name} was answered {answer}")


def value_read(name: str, reply: Reply) -> int | None:
    """The value in the answer to a read: 0 if the counter does not exist, None if it could not be read."""
    if reply.status in UNKNOWN:
        return None
    return 0 if reply.status == 404 else value(name, document(reply))
