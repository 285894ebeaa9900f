"""`GET /v1/users/{id}` and `GET /v1/users?ids=…` answered ahead of FastAPI, which costs more than a read from memory.

Only the plain case: everything that has to be looked at twice (validation, conditions, a header field that changes what
is asked for) goes the ordinary way, and so does everything but GET. What is answered here is answered with the very
bytes of the ordinary way; the tests run with and without this layer and compare.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from evenkeel.cache import cache_status
from evenkeel.cache.cache_status import TierStatus
from evenkeel.cache.entry import Entry
from evenkeel.http.plain import Plain
from evenkeel.http.problems import Problem
from user_api.problems import UserNotFound
from user_api.routes import PRIVATE, batch_body, router
from user_api.schemas import MAX_BATCH
from user_api.service import UserService

Field = tuple[bytes, bytes]

# Canonical ids of up to 18 digits: all of them are in range, and leading zeros are the ordinary way's to read.
_ID = "[1-9][0-9]{0,17}"
_USER_PATH = re.compile(rf"{router.prefix}/({_ID})")
_BATCH_QUERY = re.compile(rf"ids=({_ID}(?:,{_ID}){{0,{MAX_BATCH - 1}}})".encode())

IS_PLAIN = Plain("GET", reads=frozenset({b"cache-control", b"min-version"}))

_ROUTES = {route.name: route for route in router.routes if isinstance(route, Route)}
_USER_ROUTE, _BATCH_ROUTE = _ROUTES["read_user"], _ROUTES["list_users"]
_CONSTANT: tuple[Field, ...] = (
    *((name.lower().encode(), value.encode()) for name, value in PRIVATE.items()),
    (b"content-type", b"application/json"),
)


@dataclass(frozen=True, slots=True)
class ReadyUser:
    """A user as memory holds it: all of the answer but what depends on the moment."""

    body: bytes
    headers: tuple[Field, ...]


def prepare(entry: Entry) -> ReadyUser | None:
    """What to send while the entry is in memory; None when there is no such user."""
    if not entry.exists:
        return None
    body = _body("memory", entry)
    return ReadyUser(body, _headers(entry, len(body)))


class HotReads:
    """Plain ASGI, around the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await _answer(scope) if IS_PLAIN(scope) else None
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        if answer is None:
            await self._app(scope, receive, send)
            return
        body, headers = answer
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _answer(scope: Scope) -> tuple[bytes, Sequence[Field]] | None:
    """Body and header fields; None for an address that is not answered here. Raises Problem."""
    path, query = scope["path"], scope["query_string"]
    if not query and (match := _USER_PATH.fullmatch(path)):
        # The label of the request's metrics, as FastAPI sets it.
        scope["route"] = _USER_ROUTE
        users: UserService = scope["state"]["users"]
        return _from_memory(users, match[1]) or await _from_elsewhere(users, match[1])
    if path == router.prefix and (batch := _BATCH_QUERY.fullmatch(query)):
        scope["route"] = _BATCH_ROUTE
        users = scope["state"]["users"]
        ids = list(dict.fromkeys(map(int, batch[1].split(b","))))
        body = batch_body(ids, await users.get_many(ids))
        return body, [*_CONSTANT, (b"content-length", b"%d" % len(body))]
    return None


def _from_memory(users: UserService, key: str) -> tuple[bytes, list[Field]] | None:
    """What memory has to send; UserNotFound if it has that there is nothing."""
    hit = users.peek(key)
    if hit is None:
        return None
    if hit.ready is None:
        raise UserNotFound(int(key))
    return hit.ready.body, [*hit.ready.headers, _memory_status(int(hit.ttl))]


async def _from_elsewhere(users: UserService, key: str) -> tuple[bytes, list[Field]]:
    answer = await users.get(int(key), min_version=0, from_database=False)
    body = _body(answer.source, answer.entry)
    status = _status(cache_status.render(answer.statuses))
    return body, [*_headers(answer.entry, len(body)), status]


def _body(source: str, entry: Entry) -> bytes:
    return b'{"source":"%b","data":%b}' % (source.encode(), entry.payload)


def _headers(entry: Entry, length: int) -> tuple[Field, ...]:
    return (*_CONSTANT, (b"etag", b'"%b"' % entry.tag.hex().encode()), _content_length(length))


# Users of the same length share the field: a million users in memory have few different ones.
@lru_cache(maxsize=4096)
def _content_length(length: int) -> Field:
    return (b"content-length", b"%d" % length)


@lru_cache(maxsize=4096)
def _memory_status(seconds: int) -> Field:
    return _status(cache_status.render([TierStatus("memory", ttl=seconds)]))


def _status(rendered: str) -> Field:
    return (b"cache-status", rendered.encode())
