"""Users that were read or changed, as the bytes and header fields that are sent.

The routes and the layers ahead of them both send these, so their answers are the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from starlette.responses import Response

from evenkeel.cache import Answer, Entry, cache_status
from evenkeel.cache.cache_status import TierStatus
from evenkeel.http.etags import etag
from evenkeel.http.idempotency import REPLAYED
from user_api.idempotency import Changed

Field = tuple[bytes, bytes]

PRIVATE = {"Cache-Control": "private, no-cache"}
"""Personal data: a browser may keep its own copy, and must confirm it by ETag. A shared cache may not."""

_CONSTANT: tuple[Field, ...] = (
    *((name.lower().encode(), value.encode()) for name, value in PRIVATE.items()),
    (b"content-type", b"application/json"),
)
_OF_THE_BODY = frozenset({b"content-type", b"content-length"})


# Not frozen: a frozen one takes three times as long to make.
@dataclass(slots=True)
class Representation:
    """A body and its header fields (RFC 9110, 8)."""

    body: bytes
    headers: tuple[Field, ...]

    def response(self, status: int = 200) -> Response:
        return Response(self.body, status, headers={name.decode(): value.decode() for name, value in self.headers})

    def not_modified(self) -> Response:
        """The answer to a caller that has this state."""
        fields = {name.decode(): value.decode() for name, value in self.headers if name not in _OF_THE_BODY}
        return Response(status_code=304, headers=fields)


def prepare(entry: Entry) -> Representation | None:
    """What process memory keeps of an entry: all but the Cache-Status field. None if there is no such user."""
    return _of_user("memory", entry) if entry.exists else None


def of_answer(answer: Answer[Any]) -> Representation:
    """The one user that was read."""
    prepared: Representation = answer.ready or _of_user(answer.source, answer.entry)
    status = _status(cache_status.render(answer.statuses))
    return Representation(prepared.body, (*prepared.headers, status))


def of_batch(ids: Sequence[int], found: Mapping[int, Entry]) -> Representation:
    """The users that were found, in the order of the ids, and the ids of the others."""
    data = b",".join([found[user_id].payload for user_id in ids if user_id in found])
    missing = str([user_id for user_id in ids if user_id not in found]).encode()
    body = b'{"data":[%b],"missing":%b}' % (data, missing)
    return Representation(body, (*_CONSTANT, _content_length(len(body))))


def of_change(changed: Changed, path: str | None = None) -> Representation:
    """The user as the change left it. `path`: where a new one is."""
    assert changed.tag is not None  # noqa: S101 (only deletions and refusals have none)
    body = changed.body.encode()
    headers = [*_CONSTANT, (b"etag", etag(changed.tag.hex()).encode()), _content_length(len(body))]
    if path is not None:
        headers.append((b"location", path.encode()))
    if changed.replayed:
        headers += [(name.lower().encode(), value.encode()) for name, value in REPLAYED.items()]
    return Representation(body, tuple(headers))


# A process answers most reads from entries with few different lifetimes.
@lru_cache(maxsize=4096)
def memory_status(seconds: int) -> Field:
    """The Cache-Status field of an answer from memory that stays fresh for so many seconds."""
    return _status(cache_status.render([TierStatus("memory", ttl=seconds)]))


def _of_user(source: str, entry: Entry) -> Representation:
    body = b'{"source":"%b","data":%b}' % (source.encode(), entry.payload)
    tag = etag(entry.tag.hex()).encode()
    return Representation(body, (*_CONSTANT, (b"etag", tag), _content_length(len(body))))


# Users of the same length share the field: a million users in memory have few different ones.
@lru_cache(maxsize=4096)
def _content_length(length: int) -> Field:
    return (b"content-length", b"%d" % length)


def _status(rendered: str) -> Field:
    return (b"cache-status", rendered.encode())
