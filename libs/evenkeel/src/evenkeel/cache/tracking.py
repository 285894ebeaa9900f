"""Brings the invalidations of all processes into memory, by one RESP3 connection with client-side caching.

`CLIENT TRACKING … BCAST` (https://redis.io/docs/latest/develop/reference/client-side-caching/) makes Redis push the
names of the signals that the invalidation scripts touch. A push is lost only if the connection is lost, and that may go
unnoticed. So trust in memory ends by itself. Five times a second this process asks, on the same connection, which epoch
`alive` holds and how long it lives. The reply comes after all earlier pushes. It renews trust until one second after
the question was sent, or until `alive` ends if that is sooner.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

from redis.asyncio import Redis

from evenkeel.cache.keys import CurrentNames, Names
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics
from evenkeel.cache.pulse import Pulse
from evenkeel.redis.push import Invalidated, PushConnection, pushing
from evenkeel.tasks.failures import Failures
from evenkeel.tasks.first_to_end import first_to_end

log = logging.getLogger(__name__)

PING_INTERVAL = 0.2
"""Seconds between two questions."""

TRUST = 1.0
"""Seconds of trust after a question was sent. If there is no answer by then, the connection is given up."""

RECONNECT_PAUSE = 0.2
"""Seconds before a lost connection is made again."""


class Tracking:
    """Feeds the memory tier from the Redis that this process reads from."""

    def __init__(
        self,
        reader: Redis,
        current: CurrentNames,
        memory: MemoryTier[Any],
        metrics: CacheMetrics,
        on_change: Callable[[AbstractSet[str] | None], None],
        *,
        pulse: Pulse | None,
    ) -> None:
        """`on_change` is called with the keys that have changed, and with None when any may have.

        `pulse`: what the answers show is noted there. None if the reader is not the primary: its epoch is not adopted.
        """
        self._pool = reader.connection_pool
        self._current = current
        self._pulse = pulse
        self._memory = memory
        self._metrics = metrics
        self._on_change = on_change

    async def run(self) -> None:
        """Until cancelled, connect and follow. After a failure memory is distrusted until a connection works again."""
        failures = Failures(log, "invalidations do not arrive, memory is bypassed")
        again = False
        while True:
            try:
                await self._follow(again=again)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next connection may work)
                failures.add(error)
            else:
                failures.end()
            again = True
            await asyncio.sleep(RECONNECT_PAUSE)

    async def _follow(self, *, again: bool) -> None:
        names = await self._current.known()
        questions: deque[float] = deque()
        try:
            async with pushing(self._pool.make_connection()) as connection:  # type: ignore[no-untyped-call]  # redis-py has not typed it
                await connection.track("BCAST", "PREFIX", names.signals)
                if again:
                    # After a failover the pool may still be connected to the old server, which lacks changes that the
                    # new one has pushed. What is read there must not be kept.
                    await self._pool.disconnect(inuse_connections=True)
                await first_to_end(
                    self._ask(connection, names, questions),
                    self._read(connection, names, questions),
                    self._current.until_other_identity(names.identity),
                )
        finally:
            self._memory.distrust("connection lost")

    async def _ask(self, connection: PushConnection, names: Names, questions: deque[float]) -> None:
        # The order matters. If an epoch begins between the two commands, the lifetime is the old epoch's, which is
        # shorter. The other way round, the new lifetime would prolong the old epoch, and not every new epoch is pushed.
        # GETRANGE replies with bytes even if there is no key, so replies differ from pushes.
        question = [("PTTL", names.alive), ("GETRANGE", names.alive, 0, -1)]
        while not questions or time.monotonic() < questions[0] + TRUST:
            questions.append(time.monotonic())
            await connection.send(question)
            await asyncio.sleep(PING_INTERVAL)
        raise ConnectionError(f"no answer within {TRUST:g} s")

    async def _read(self, connection: PushConnection, names: Names, questions: deque[float]) -> None:
        lifetime = 0
        while True:
            message = await connection.receive()
            if isinstance(message, Invalidated):
                self._pushed(names, message.keys)
            elif isinstance(message, int):
                lifetime = message
            else:
                asked = questions.popleft()
                if self._pulse is not None:
                    self._pulse.note(names.alive, asked, lifetime)
                self._answered(asked, message, lifetime)

    def _answered(self, asked: float, epoch: bytes, lifetime: int) -> None:
        names = self._current.now
        if lifetime <= 0 or not epoch or names is None:
            self._memory.distrust("relay not seen")
            return
        if epoch != names.alive_value:
            if self._pulse is None:
                self._memory.distrust("another epoch")
                return
            self._current.adopt(epoch, names)
        self._memory.trust(asked + min(TRUST, lifetime / 1000))

    def _pushed(self, names: Names, signals: list[bytes] | None) -> None:
        for signal in signals or [names.everything]:  # none: the server was emptied
            changes = names.signalled(signal)
            if changes is None:
                self._memory.clear("flush pushed")
                self._on_change(None)
            else:
                self._metrics.pushed(len(changes))
                self._memory.drop(changes)
                self._on_change(changes.keys())
