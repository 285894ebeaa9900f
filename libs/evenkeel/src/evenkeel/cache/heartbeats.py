"""Heartbeats of the processes that share a cache, in its Redis and under its names, and how its relay does."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from evenkeel.cache.keys import CurrentNames
from evenkeel.cache.pulse import Pulse
from evenkeel.cache.relay import ALIVE
from evenkeel.redis.heartbeats import Command, Heartbeats


class CacheHeartbeats(Heartbeats):
    """The names are those of the database, so processes of two databases never meet. Epochs do not change them."""

    def __init__(self, primary: Redis, current: CurrentNames, pulse: Pulse) -> None:
        super().__init__(self._together, lambda: current.now.fleet if current.now is not None else None)
        self._primary = primary
        self._current = current
        self._pulse = pulse

    @property
    def epoch(self) -> str | None:
        """The random beginning of the epoch; None: not known."""
        names = self._current.now
        return (names.base or None) if names is not None else None

    @property
    def lag(self) -> float | None:
        """Seconds since the last look at the change log by any process's relay; None: not known.

        No change that is older was overlooked. Beyond ALIVE nothing in the cache is trusted.
        """
        ended = self._pulse.ended
        return None if ended is None else max(0.0, ALIVE + ended)

    async def _together(self, commands: Sequence[Command]) -> Sequence[Any]:
        pipeline = self._primary.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute()
        return replies
