"""Which replicas GET /stats names: those that ran within a day. The requests of the others stay in the total."""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from importlib.resources import files

from counter_api.redis.calls import Call
from counter_api.redis.keys import REPLICAS_SEEN, REQUESTS
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.problems import Problem
from evenkeel.redis.scripts import load
from evenkeel.tasks import background

log = logging.getLogger(__name__)

PRESENCE = load(files(__package__) / "lua" / "presence.lua")

FORGOTTEN_AFTER = 86_400
"""Seconds."""

EVERY = 600.0
"""Seconds between two notes that a replica runs."""

RETRY = 10.0
"""Seconds before the next note, if the last one failed."""


class Presence:
    def __init__(self, pipeline: RedisPipeline, *, replica: str) -> None:
        self._pipeline = pipeline
        self._replica = replica

    def running(self) -> AbstractAsyncContextManager[None]:
        return background.running(self._run())

    async def note(self) -> bool:
        """Note that this replica runs; whether that succeeded."""
        call = Call((2, REQUESTS, REPLICAS_SEEN, self._replica, FORGOTTEN_AFTER), PRESENCE, repeatable=True)
        [reply] = await self._pipeline.replies([call])
        if isinstance(reply, Problem):
            log.info("this replica could not be noted as running", extra={"reason": reply.detail})
        return not isinstance(reply, Problem)

    async def _run(self) -> None:
        while True:
            noted = await self.note()
            await asyncio.sleep(EVERY if noted else RETRY)
