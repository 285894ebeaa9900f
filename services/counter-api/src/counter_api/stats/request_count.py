"""How many requests all replicas have had, for GET /stats: each is counted before it is answered.

A count is under way while its request is being handled, usually in the same round trip to Redis. The counts of one
round trip are one HINCRBY.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from counter_api.problems import NothingApplied
from counter_api.redis.calls import Argument, Batch, Sender
from counter_api.redis.keys import REQUESTS
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.problems import Problem

log = logging.getLogger(__name__)

# A replica's own addresses, which no load balancer passes on to the public, and requests that only look at the service.
_UNCOUNTED = ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/fleet/")


@dataclass(frozen=True, slots=True)
class Requests:
    """`total` includes the requests of replicas that have been forgotten."""

    total: int
    replicas: dict[str, int]


class Tally(Protocol):
    def count(self) -> "asyncio.Future[Problem | None]":
        """Count one request of this replica. Queued on return; the result says what has failed."""
        ...

    async def requests(self) -> Requests:
        """How many there were, including all that this replica has queued before. Raise the problem."""
        ...


class RequestCount:
    """Plain ASGI, around the application. The lifespan's state has the `tally`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_UNCOUNTED):
            await self._app(scope, receive, send)
            return
        tally: Tally = scope["state"]["tally"]
        count = tally.count()

        async def send_once_counted(message: Message) -> None:
            await _settled(count)
            await send(message)

        # Not a coroutine, which costs time: the count has usually arrived with the answer, and only `send` is left.
        def send_when_counted(message: Message) -> Awaitable[None]:
            # A 503 for a full queue does not wait, since the count would wait in that queue.
            waits = message["type"] == "http.response.start" and message["status"] != 503 and not _counted(count)
            return send_once_counted(message) if waits else send(message)

        try:
            await self._app(scope, receive, send_when_counted)
        except Exception:
            # The answer to an unexpected error is sent further out.
            await _settled(count)
            raise


def _counted(count: "asyncio.Future[Problem | None]") -> bool:
    return count.done() and not count.cancelled() and count.exception() is None and count.result() is None


async def _settled(count: "asyncio.Future[Problem | None]") -> None:
    # The request has its own answer. If it needed Redis too, that answer says what is wrong.
    problem = await count
    if problem is not None:
        log.warning("request not counted", extra={"reason": problem.detail})


class MemoryTally:
    """Of one process."""

    def __init__(self, *, replica: str) -> None:
        self._replica = replica
        self._requests = 0

    def count(self) -> "asyncio.Future[Problem | None]":
        # Without a lock: with no await in between, nothing else runs in this process' event loop.
        self._requests += 1
        counted: asyncio.Future[Problem | None] = asyncio.get_running_loop().create_future()
        counted.set_result(None)
        return counted

    async def requests(self) -> Requests:
        return Requests(self._requests, {self._replica: self._requests})


class RedisTally:
    """A hash of requests by replica."""

    def __init__(self, pipeline: RedisPipeline, *, replica: str, uncounted: Counter) -> None:
        """`uncounted` counts requests that may have been counted or not."""
        self.replica = replica
        self.uncounted = uncounted
        self.owed = 0
        """Requests that Redis did not take. The next round trip counts them too."""
        self._pipeline = pipeline
        self._one, self._none = _Part(self, 1), _Part(self, 0)

    def count(self) -> "asyncio.Future[Problem | None]":
        return self._pipeline.submit(self._one)

    async def requests(self) -> Requests:
        # It counts nothing, and is answered after everything that was queued before.
        if (problem := await self._pipeline.submit(self._none)) is not None:
            raise problem
        found: Mapping[bytes, bytes] = await self._pipeline.read("HGETALL", REQUESTS)
        replicas = {replica.decode(): int(count) for replica, count in found.items()}
        total = sum(replicas.values())
        # Those of forgotten replicas.
        replicas.pop("", None)
        return Requests(total, replicas)


class _Part:
    """Counts some requests, in one batch with all others of the round trip."""

    key = batch_key = REQUESTS
    weight = 0
    """So it is never refused, which would lose a count. There are as many as requests under way, which bounds them."""

    def __init__(self, tally: RedisTally, requests: int) -> None:
        self.requests = requests
        self._tally = tally

    def begin(self, sender: Sender) -> "_Addition":  # noqa: ARG002 (a number without a receipt)
        return _Addition(self._tally)


class _Addition(Batch):
    key = REQUESTS

    def __init__(self, tally: RedisTally) -> None:
        self._tally = tally
        self._requests = 0
        self._problem: Problem | None = None

    def add(self, part: _Part) -> None:
        self._requests += part.requests

    def result_at(self, place: None) -> Problem | None:  # noqa: ARG002 (all of them have the same)
        return self._problem

    def command(self, until: int) -> tuple[Argument, ...]:  # noqa: ARG002 (without a deadline)
        self._requests += self._tally.owed
        self._tally.owed = 0
        return ("HINCRBY", REQUESTS, self._tally.replica, self._requests)

    def receive(self, reply: Any) -> bool:  # noqa: ARG002 (only this replica's number)
        return True

    def fail(self, problem: Callable[[], Problem]) -> None:
        self._problem = problem()
        if isinstance(self._problem, NothingApplied):
            self._tally.owed += self._requests
        else:
            # To send them again could count them twice.
            self._tally.uncounted.inc(self._requests)
