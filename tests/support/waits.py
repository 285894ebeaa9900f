"""Callers of every kind, without pauses, and how long each of them waited for which answer."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from verify.connection import Connection

JSON = {"content-type": "application/json"}
CALLER_LIMIT = 30.0
"""Seconds after which a caller gives up. This counts as an answer at that time."""

Request = tuple[str, str, dict[str, str], bytes]


@dataclass(frozen=True)
class Wait:
    """`asked` is a time of `time.monotonic`."""

    kind: str
    asked: float
    seconds: float
    status: int
    retry_after: str | None
    stale: bool
    detail: str


def kinds(cached: list[int], changed: list[int], *, unknown: int = 1_000_000) -> dict[str, Iterator[Request]]:
    """The requests of the callers of each kind, one after the other. No two readers of cold keys read the same one."""
    numbers = itertools.count(unknown)

    def each(request: Callable[[int], Request]) -> Iterator[Request]:
        return (request(next(numbers)) for _ in itertools.count())

    def turns(users: list[int], request: Callable[[int], Request]) -> Iterator[Request]:
        return (request(n) for n in itertools.cycle(users))

    def new(n: int) -> bytes:
        return json.dumps({"email": f"{n}@example.com", "name": "New"}).encode()

    return {
        "cached": turns(cached, lambda n: ("GET", f"/v1/users/{n}", {}, b"")),
        "cold": each(lambda n: ("GET", f"/v1/users/{n}", {}, b"")),
        "batch": each(lambda n: ("GET", f"/v1/users?ids={n},{n + 1}", {}, b"")),
        "no-cache": turns(cached, lambda n: ("GET", f"/v1/users/{n}", {"cache-control": "no-cache"}, b"")),
        "list": turns(cached, lambda _: ("GET", "/v1/users?limit=2", {}, b"")),
        "POST": each(lambda n: ("POST", "/v1/users", JSON, new(n))),
        "PATCH": turns(changed, lambda n: ("PATCH", f"/v1/users/{n}", JSON, b'{"name": "Changed"}')),
        "DELETE": each(lambda n: ("DELETE", f"/v1/users/{n}", {}, b"")),
    }


class Callers:
    def __init__(self) -> None:
        self.waits: list[Wait] = []
        self.busy = 0.0
        """The longest time that the server took to answer /livez: the machine's share in every wait."""
        self._calls: list[asyncio.Task[None]] = []
        self._finishing = False

    def start(self, url: str, kind: str, requests: Iterator[Request], pause: float) -> asyncio.Task[None]:
        self._calls.append(asyncio.create_task(self.call(url, kind, requests, pause)))
        return self._calls[-1]

    async def finish(self) -> None:
        """Send nothing more, and wait for all answers. Otherwise the end of the block breaks requests under way."""
        self._finishing = True
        await asyncio.gather(*self._calls)

    def late(self, limit: float) -> list[Wait]:
        """Waits that were longer than this many seconds plus twice the machine's share."""
        return [wait for wait in self.waits if wait.seconds > limit + 2 * self.busy]

    async def call(self, url: str, kind: str, requests: Iterator[Request], pause: float) -> None:
        connection = Connection(url)
        try:
            while not self._finishing:
                asked = time.monotonic()
                wait = await self._answered(connection, kind, next(requests), asked)
                self.waits.append(wait)
                if wait.status == 0:
                    connection.close()
                    connection = Connection(url)
                await asyncio.sleep(pause)
        finally:
            connection.close()

    async def watch(self, url: str) -> None:
        async with Connection(url) as connection:
            while True:
                asked = time.monotonic()
                await connection.request("GET", "/livez")
                self.busy = max(self.busy, time.monotonic() - asked)
                await asyncio.sleep(0.05)

    async def _answered(self, connection: Connection, kind: str, request: Request, asked: float) -> Wait:
        method, path, headers, body = request
        try:
            async with asyncio.timeout(CALLER_LIMIT):
                reply = await connection.request(method, path, headers, body)
        except (OSError, EOFError, TimeoutError) as error:
            return Wait(kind, asked, time.monotonic() - asked, 0, None, stale=False, detail=repr(error))
        seconds = time.monotonic() - asked
        stale = "; stale" in reply.headers.get("cache-status", "")
        detail = reply.json()["detail"] if reply.status >= 400 else ""
        return Wait(kind, asked, seconds, reply.status, reply.headers.get("retry-after"), stale, detail)


@asynccontextmanager
async def calling(
    url: str, requests: dict[str, Iterator[Request]], *, replica: str = "", each: int = 25, pause: float = 0.3
) -> AsyncIterator[Callers]:
    """Run this many callers of each kind during the block. If `url` is a gateway's, `replica` is asked for /livez."""
    callers = Callers()
    tasks = [callers.start(url, kind, of_kind, pause) for kind, of_kind in requests.items() for _ in range(each)]
    tasks.append(asyncio.create_task(callers.watch(replica or url)))
    try:
        yield callers
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
