"""`GET /v1/users/{id}` and `GET /v1/users?ids=…`, answered ahead of FastAPI, which costs more than a read from memory.

Only plain requests are answered here. Everything that needs a closer look goes the ordinary way: validation,
preconditions, header fields that change what is read. Both ways send the same bytes; the tests run with and without
this layer, and compare.
"""

import re
from collections.abc import Sequence

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from evenkeel.http.plain import Plain
from evenkeel.http.problems import Problem
from user_api.problems import UserNotFound
from user_api.representation import Field, Representation, memory_status, of_answer, of_batch
from user_api.schemas import MAX_BATCH, PATH
from user_api.service import UserService

# Canonical ids of up to 18 digits are all in range. The ordinary way reads longer ones, and leading zeros.
_ID = "[1-9][0-9]{0,17}"
_USER_PATH = re.compile(rf"{PATH}/({_ID})")
_BATCH_QUERY = re.compile(rf"ids=({_ID}(?:,{_ID}){{0,{MAX_BATCH - 1}}})".encode())

IS_PLAIN = Plain("GET", reads=frozenset({b"cache-control", b"min-version"}))


class HotReads:
    """Plain ASGI, around the application."""

    def __init__(self, app: ASGIApp, *, read_user: BaseRoute, list_users: BaseRoute) -> None:
        """The routes that the answers stand for: the metrics count the requests by them."""
        self._app = app
        self._read_user = read_user
        self._list_users = list_users

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope) if IS_PLAIN(scope) else None
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        if answer is None:
            await self._app(scope, receive, send)
            return
        body, headers = answer
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope) -> tuple[bytes, Sequence[Field]] | None:
        """Body and header fields; None for an address that is not answered here. Raises Problem."""
        path, query = scope["path"], scope["query_string"]
        if not query and (match := _USER_PATH.fullmatch(path)):
            scope["route"] = self._read_user
            users: UserService = scope["state"]["users"]
            return _from_memory(users, match[1]) or await _from_elsewhere(users, match[1])
        if path == PATH and (batch := _BATCH_QUERY.fullmatch(query)):
            scope["route"] = self._list_users
            users = scope["state"]["users"]
            ids = list(dict.fromkeys(map(int, batch[1].split(b","))))
            found = of_batch(ids, await users.get_many(ids))
            return found.body, found.headers
        return None


def _from_memory(users: UserService, key: str) -> tuple[bytes, list[Field]] | None:
    """The user from process memory. UserNotFound if memory has the fact that there is none."""
    hit = users.peek(key)
    if hit is None:
        return None
    ready: Representation | None = hit.ready
    if ready is None:
        raise UserNotFound(int(key))
    return ready.body, [*ready.headers, memory_status(int(hit.ttl))]


async def _from_elsewhere(users: UserService, key: str) -> tuple[bytes, Sequence[Field]]:
    read = of_answer(await users.get(int(key), min_version=0, from_database=False))
    return read.body, read.headers
