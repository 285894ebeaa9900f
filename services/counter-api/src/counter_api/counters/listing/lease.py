"""Which replica does work that one replica is enough for. The lease only saves work: two at once do no harm."""

import secrets
import time

from counter_api.counters.listing.scripts import LEASE
from counter_api.redis.calls import Call, checked
from counter_api.redis.keys import PAUSE
from counter_api.redis.pipeline import RedisPipeline

LEASE_FOR = 30_000
"""Milliseconds after which another replica takes over if the holder has died."""

KEPT_EVERY = 5.0
"""Seconds."""


class NotInCharge(Exception):
    """Another replica has the lease now."""


class Lease:
    def __init__(self, pipeline: RedisPipeline, key: str) -> None:
        self._pipeline = pipeline
        self._keys = (key, PAUSE % key)
        self._token = secrets.token_hex(8)
        self._taken = 0.0

    async def take(self) -> bool:
        """Whether this replica has it now."""
        self._taken = time.monotonic()
        return await self._ask(LEASE_FOR)

    async def keep(self) -> None:
        """Take it again if that was some time ago; raise NotInCharge if another replica has it."""
        if time.monotonic() > self._taken + KEPT_EVERY and not await self.take():
            raise NotInCharge("another replica looks after it")

    async def give_back(self, *, pause: int = 0) -> None:
        """For the seconds of `pause`, no replica gets it again."""
        if pause:
            await self._pipeline.command("SET", self._keys[1], "", "EX", pause, repeatable=True)
        await self._ask(0)

    async def _ask(self, milliseconds: int) -> bool:
        call = Call((2, *self._keys, self._token, milliseconds), LEASE, repeatable=True)
        [reply] = await self._pipeline.replies([call])
        return bool(checked(reply))
