"""`POST /v1/users` and `PATCH /v1/users/{id}`, answered ahead of FastAPI, which costs more than the change itself.

Only requests that are in order are answered here. All others go the ordinary way with the same body, so that what is
wrong with them is found and reported there: bodies, media types, an Idempotency-Key, fields that are sent twice. Both
ways send the same bytes; the tests run with and without this layer, and compare.
"""

import re
from collections.abc import Iterable
from json import JSONDecodeError
from typing import NamedTuple

from pydantic import ValidationError
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evenkeel.http.bodies import JSON, MERGE_PATCH, parse_json
from evenkeel.http.plain import NEVER_PLAIN
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import InvalidInput, Problem
from user_api.representation import of_change
from user_api.schemas import PATH, NewUser, UserPatch
from user_api.service import UserService

_USER_PATH = re.compile(rf"{PATH}/([1-9][0-9]{{0,17}})")

LARGEST = 4096
"""Bytes of a body. Users have less; larger ones go the ordinary way."""

_NEEDED = (b"content-type", b"content-length")
_LOOKED_AT = frozenset({*_NEEDED, b"if-match"})
_OTHERS = NEVER_PLAIN - _LOOKED_AT | {b"content-encoding"}
"""A request with one of these fields goes the ordinary way."""

_PATCHES = frozenset({JSON.encode(), MERGE_PATCH.encode()})
_NEW_USERS = frozenset({JSON.encode()})

_ANY_STATE = Preconditions()


class HotWrites:
    """Plain ASGI, around the application."""

    def __init__(self, app: ASGIApp, *, create_user: BaseRoute, change_user: BaseRoute) -> None:
        """The routes that the answers stand for: the metrics count the requests by them."""
        self._app = app
        self._create_user = create_user
        self._change_user = change_user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = _target(scope)
        if target is None:
            await self._app(scope, receive, send)
            return
        messages = await _received(receive)
        try:
            change = _change(target, messages)
            if change is None:
                await self._app(scope, _again(messages, receive), send)
                return
            users: UserService = scope["state"]["users"]
            if isinstance(change, NewUser):
                scope["route"] = self._create_user
                created = await users.create(change)
                status, answer = created.status, of_change(created, f"{PATH}/{created.user_id}")
            else:
                scope["route"] = self._change_user
                changed = await users.update(int(target.user_id), change, target.preconditions)
                status, answer = changed.status, of_change(changed)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})


class _Target(NamedTuple):
    """What is to be changed."""

    user_id: str
    """Empty for a user who is to be created."""
    preconditions: Preconditions


def _target(scope: Scope) -> _Target | None:
    """None for a request that goes the ordinary way."""
    if scope["type"] != "http" or scope["query_string"]:
        return None
    match scope["method"]:
        case "PATCH" if found := _USER_PATH.fullmatch(scope["path"]):
            fields = _fields(scope["headers"], _PATCHES)
            user_id = found[1]
        case "POST" if scope["path"] == PATH:
            fields = _fields(scope["headers"], _NEW_USERS)
            user_id = ""
        case _:
            return None
    if fields is None:
        return None
    if_match = fields.get(b"if-match")
    if if_match is None:
        return _Target(user_id, _ANY_STATE)
    try:
        return _Target(user_id, Preconditions.parse(if_match.decode("latin-1"), None)) if user_id else None
    except InvalidInput:
        return None


def _fields(headers: Iterable[tuple[bytes, bytes]], media_types: frozenset[bytes]) -> dict[bytes, bytes] | None:
    """The fields that are looked at, or None if they, or any others, need a closer look."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _OTHERS:
            return None
        if name in _LOOKED_AT:
            if name in found:
                return None
            found[name] = value
    length = found.get(b"content-length", b"")
    in_order = found.get(b"content-type") in media_types and length.isdigit() and len(length) <= len(str(LARGEST))
    return found if in_order and int(length) <= LARGEST else None


async def _received(receive: Receive) -> list[Message]:
    """The messages with the whole body. The last one is another one if the caller goes away before."""
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _change(target: _Target, messages: list[Message]) -> NewUser | UserPatch | None:
    """The body, or None if it is not in order."""
    if messages[-1]["type"] != "http.request":
        return None
    body = b"".join(message.get("body", b"") for message in messages)
    try:
        return (UserPatch if target.user_id else NewUser).model_validate(parse_json(body))
    except (ValidationError, JSONDecodeError, InvalidInput, RecursionError):
        return None


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Messages that were received, and then the others."""
    left = iter(messages)

    async def receive_again() -> Message:
        return next(left, None) or await receive()

    return receive_again
