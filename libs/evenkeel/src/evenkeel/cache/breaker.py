"""A circuit breaker: what has failed is not asked again for a while, so that readers need not wait for it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from redis.exceptions import TimeoutError as RedisTimeoutError

from evenkeel.cache.entry import TierUnavailable

FAILURES = 3
"""Failures in a row that open the breaker; a single time-out does, too, because each one costs its callers time."""

PAUSE = 1.0
"""Seconds until an open breaker lets one call through to see whether things have changed."""


class CircuitBreaker:
    """Around the calls to one server; turns their failures into TierUnavailable."""

    def __init__(
        self, *, failures: int = FAILURES, pause: float = PAUSE, timer: Callable[[], float] = time.monotonic
    ) -> None:
        """`pause` in seconds of `timer`."""
        self._limit = failures
        self._pause = pause
        self._timer = timer
        self._failures = 0
        self._closed_from = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        return self._failures >= self._limit

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Run the block, or raise TierUnavailable without running it."""
        probe = self.is_open
        if probe:
            if self._probing or self._timer() < self._closed_from:
                raise TierUnavailable("not asked, it failed a moment ago")
            self._probing = True
        try:
            yield
        except Exception as error:  # redis-py raises more than its own when a connection is closed under it
            self._failures = max(self._limit if isinstance(error, RedisTimeoutError) else 0, self._failures + 1)
            if self.is_open:
                self._closed_from = self._timer() + self._pause
            raise TierUnavailable(repr(error)) from error
        else:
            self._failures = 0
        finally:
            if probe:
                self._probing = False
