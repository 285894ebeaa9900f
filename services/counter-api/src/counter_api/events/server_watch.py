"""Changes of the counters in one Redis server, as Redis pushes them: made by any replica or program.

It is one connection with client-side caching in its default mode (evenkeel.redis.push). After a GET of a counter on it,
Redis pushes one invalidation when that counter next changes by any command, expires, or is flushed. Then the counter is
read again, which makes Redis push the next change. Counting costs no more because of this. A counter is read ten times
a second at most, however often it changes. A push is lost only if the connection is lost. A dead connection is noticed
by a question without an answer. On the next connection every counter is read again.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from redis.exceptions import AskError, MovedError, ResponseError

from counter_api.counters.encoding import integer
from counter_api.events.feed import Topic
from counter_api.problems import NotACounter
from evenkeel.redis.push import Invalidated, PushConnection, pushing
from evenkeel.redis.topology import Topology
from evenkeel.tasks.failures import Failures
from evenkeel.tasks.first_to_end import first_to_end

log = logging.getLogger(__name__)

READ_PAUSE = 0.1
"""Seconds at least between two reads of one counter that changes."""

PING_INTERVAL = 0.5
"""Seconds between two PINGs while there is nothing to read."""

ANSWER_WITHIN = 2.0
"""Seconds after which a connection without an answer counts as dead."""

RECONNECT_PAUSE = 0.2
"""Seconds before a lost connection is made again."""

READ_ANYWAY = 5.0
"""Seconds after which a counter is read without a push, if it may have moved to another server. A server need not push
anything when it gives a counter away."""


@dataclass(eq=False, slots=True)
class Watched:
    topic: Topic
    key: bytes
    asked_at: float = -math.inf
    scheduled: bool = False
    waiting: list["asyncio.Future[None]"] = field(default_factory=list)
    """Futures of readers, for a question that has not been sent yet."""


@dataclass(frozen=True, slots=True)
class _Question:
    sent_at: float
    watched: Watched | None
    """None: a PING."""
    waiting: list["asyncio.Future[None]"]


class ServerWatch:
    """Connected as long as there is something to watch."""

    def __init__(self, topology: Topology, address: str, on_elsewhere: Callable[[Watched], None]) -> None:
        """`on_elsewhere` is called with counters that this server may not have any more."""
        self._topology = topology
        self._address = address
        self._on_elsewhere = on_elsewhere
        self._watched: dict[bytes, Watched] = {}
        self._to_ask: dict[Watched, None] = {}
        self._wanted = asyncio.Event()
        self._unanswered: deque[_Question] = deque()
        self._failures = Failures(log, "changes of counters cannot be followed")

    def ask(self, watched: Watched) -> None:
        """Watch it, and read it as soon as possible."""
        self._watched[watched.key] = watched
        self._to_ask[watched] = None
        self._wanted.set()

    def leave(self, watched: Watched) -> None:
        """Stop watching it."""
        self._watched.pop(watched.key, None)
        self._to_ask.pop(watched, None)

    async def run(self) -> None:
        """Return when there is nothing left to watch."""
        while self._watched:
            try:
                await self._follow()
            except Exception as error:  # noqa: BLE001 (after any failure the next connection may work)
                self._failures.add(error)
                await self._topology.lost()
                await asyncio.sleep(RECONNECT_PAUSE)
            # Changes in the meantime were not pushed.
            for watched in list(self._watched.values()):
                self._on_elsewhere(watched)

    async def _follow(self) -> None:
        try:
            async with pushing(await self._topology.connect(self._address)) as connection:
                async with asyncio.timeout(ANSWER_WITHIN):
                    await connection.track()
                self._failures.end()
                await first_to_end(self._send(connection), self._receive(connection))
        finally:
            # Questions without an answer are asked again on the next connection.
            for question in self._unanswered:
                if question.watched is not None:
                    question.watched.waiting.extend(question.waiting)
            self._unanswered.clear()

    async def _send(self, connection: PushConnection) -> None:
        while self._watched:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_INTERVAL):
                    await self._wanted.wait()
            self._wanted.clear()
            now = time.monotonic()
            if self._unanswered and self._unanswered[0].sent_at < now - ANSWER_WITHIN:
                raise ConnectionError(f"no answer within {ANSWER_WITHIN:g} s")
            if self._topology.movable:
                self._to_ask |= {each: None for each in self._watched.values() if each.asked_at < now - READ_ANYWAY}
            questions = [_question(watched, now) for watched in self._to_ask] or [_Question(now, None, [])]
            self._to_ask.clear()
            self._unanswered.extend(questions)
            commands = [("PING",) if q.watched is None else ("GET", q.watched.key) for q in questions]
            async with asyncio.timeout(ANSWER_WITHIN):
                await connection.send(commands)

    async def _receive(self, connection: PushConnection) -> None:
        while True:
            try:
                message = await connection.receive()
            except ResponseError as error:
                message = error
            if isinstance(message, Invalidated):
                self._pushed(message.keys)
            elif isinstance(message, ResponseError):
                await self._refused(message)
            else:
                _answer(self._unanswered.popleft(), message)

    async def _refused(self, error: ResponseError) -> None:
        question = self._unanswered[0]
        if question.watched is not None and isinstance(error, AskError):  # of which MovedError is one
            self._unanswered.popleft()
            question.watched.waiting.extend(question.waiting)
            if isinstance(error, MovedError):
                await self._topology.redirected(error.slot_id, f"{error.host}:{error.port}")
                self._on_elsewhere(question.watched)
            else:
                self._schedule(question.watched)  # it is being moved, and soon will have been
        elif str(error).startswith("WRONGTYPE"):
            _answer(self._unanswered.popleft(), error)
        else:
            raise error

    def _pushed(self, keys: list[bytes] | None) -> None:
        """None: the whole database was flushed."""
        for key in list(self._watched) if keys is None else keys:
            if (watched := self._watched.get(key)) is not None:
                self._schedule(watched)

    def _schedule(self, watched: Watched) -> None:
        if not watched.scheduled:
            watched.scheduled = True
            wait = max(0.0, watched.asked_at + READ_PAUSE - time.monotonic())
            asyncio.get_running_loop().call_later(wait, self._ask_if_watched, watched)

    def _ask_if_watched(self, watched: Watched) -> None:
        if self._watched.get(watched.key) is watched:
            self.ask(watched)


def _question(watched: Watched, now: float) -> _Question:
    waiting, watched.waiting = watched.waiting, []
    watched.asked_at, watched.scheduled = now, False
    return _Question(now, watched, waiting)


def _answer(question: _Question, reply: bytes | ResponseError | None) -> None:
    if question.watched is None:
        return
    value = None if isinstance(reply, ResponseError) else integer(reply)
    question.watched.topic.publish(value)
    for future in question.waiting:
        if future.done():
            continue
        if value is None and reply is not None:
            future.set_exception(NotACounter())
        else:
            future.set_result(None)
