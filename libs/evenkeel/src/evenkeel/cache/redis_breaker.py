"""A circuit breaker around a Redis server. While the server does not answer, no reader asks it or waits for it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context

from redis.exceptions import TimeoutError as RedisTimeoutError

from evenkeel.cache.entry import TierUnavailable
from evenkeel.tasks.ending import end

log = logging.getLogger(__name__)

FAILURES = 3
"""Failures in a row that open the breaker. A single time-out opens it, too, because each one costs its callers time."""

PAUSE = 0.5
"""Seconds between two probes of a server that does not answer."""


class RedisBreaker:
    """Around the calls to one server. Turns their failures into TierUnavailable.

    While it is open, a task of its own probes the server until that answers. No caller has to be the probe.
    """

    def __init__(
        self, probe: Callable[[], Awaitable[object]], *, failures: int = FAILURES, pause: float = PAUSE
    ) -> None:
        """`probe` raises unless the server answers within a time limit of its own. `pause` in seconds."""
        self._probe = probe
        self._limit = failures
        self._pause = pause
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._probing is not None

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Run the block, or raise TierUnavailable without running it."""
        if self._probing is not None:
            raise TierUnavailable("skipped: the breaker is open")
        try:
            yield
        except Exception as error:  # redis-py raises more than its own when a connection is closed under it
            self._failures = max(self._limit if isinstance(error, RedisTimeoutError) else 0, self._failures + 1)
            if self._failures >= self._limit and self._probing is None:
                # In no request's context: its log lines concern all of them.
                self._probing = asyncio.create_task(self._probe_until_answered(), context=Context())
                self._probing.add_done_callback(self._probed)
            raise TierUnavailable(repr(error)) from error
        else:
            self._failures = 0

    async def close(self) -> None:
        """End the probe."""
        if (probing := self._probing) is not None:
            await end(probing)

    async def _probe_until_answered(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            try:
                await self._probe()
            except Exception as error:  # noqa: BLE001 (whatever it is, the server has not answered)
                log.debug("Redis does not answer yet", extra={"reason": repr(error)})
            else:
                return

    def _probed(self, _: "asyncio.Task[None]") -> None:
        self._failures = 0
        self._probing = None
