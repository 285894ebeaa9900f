"""Corrects the index of names in the background: one replica at a time, slowly.

A scan of all keys adds the counters that were never listed. A sweep removes names whose counters have expired or were
deleted (see shards).
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from counter_api.counters.listing.held import held
from counter_api.counters.listing.lease import Lease, NotInCharge
from counter_api.counters.listing.names import Names
from counter_api.counters.listing.pages import names_call, names_of
from counter_api.counters.listing.scripts import FORGET, LACKING, MARK, UNLIST
from counter_api.counters.listing.shards import ALL, READ_FOR, STAMPED_FOR, Shard, shard_of
from counter_api.redis import keys
from counter_api.redis.calls import Call, checked
from counter_api.redis.pipeline import RedisPipeline
from evenkeel.http.problems import Problem
from evenkeel.tasks import background
from evenkeel.tasks.ending import end

log = logging.getLogger(__name__)

EVERY = 10.0
"""Seconds between a replica's attempts to get the lease."""

PAUSE = 600
"""Seconds between the end of one round and the beginning of the next."""

STEP = 500
"""Names that one step looks at."""

BETWEEN = 0.25
"""Seconds between two steps. Each step keeps Redis busy for a millisecond or two."""

URGENT = 0.01
"""Seconds between two steps while readers wait for the index to be complete."""

_COUNTER_KEY = re.compile(rb"\{([A-Za-z0-9][A-Za-z0-9._:-]{0,127})\}")


class Upkeep:
    def __init__(self, pipeline: RedisPipeline, names: Names) -> None:
        self._pipeline = pipeline
        self._names = names
        self._round = Lease(pipeline, keys.UPKEEP_ROUND)
        self._completing = Lease(pipeline, keys.UPKEEP_COMPLETING)
        self._completion: asyncio.Task[bool] | None = None

    def running(self) -> AbstractAsyncContextManager[None]:
        return background.running(self._run())

    async def close(self) -> None:
        if self._completion is not None:
            await end(self._completion)

    async def complete(self, *, within: float | None = None) -> bool:
        """Complete the index. Returns whether it is complete, after `within` seconds at most."""
        if self._completion is None or self._completion.done():
            self._completion = asyncio.create_task(self._completed())
        done, _ = await asyncio.wait([self._completion], timeout=within)
        return bool(done) and self._completion.result()

    async def sweep(self, lease: Lease | None = None, *, between: float = BETWEEN) -> int:
        """Remove the names that have no counters. Returns how many."""
        removed = 0
        for shard in ALL:
            after = ""
            while True:
                call = names_call(shard, prefix="", after=after, count=STEP)
                found = names_of(*await self._pipeline.reads([call]))
                values = await held(self._pipeline, found.names)
                gone = [name for name, its in zip(found.names, values, strict=True) if its.gone]
                removed += await self._remove(shard, gone, found.read)
                await _step(lease, between)
                if len(found.names) < STEP:
                    break
                after = found.names[-1]
        return removed

    async def scan(self, lease: Lease | None = None, *, between: float = BETWEEN) -> int:
        """Add the counters that are not listed. Returns how many."""
        token, added = secrets.token_hex(8), 0
        await self._mark(token, "begun")
        async for _, found in self._pipeline.scan_steps(keys.ALL_COUNTERS):
            added += await self._add([match[1].decode() for key in found if (match := _COUNTER_KEY.fullmatch(key))])
            await _step(lease, between)
        await self._mark(token, "complete")
        return added

    async def _run(self) -> None:
        complete = False
        while True:
            try:
                if not complete:
                    complete = await self.complete()
                elif await self._round.take():
                    removed, added = await self.sweep(self._round), await self.scan(self._round)
                    await self._round.give_back(pause=PAUSE)
                    log.info("the index of names was looked after", extra={"removed": removed, "added": added})
            except (Problem, NotInCharge) as problem:
                log.info("the index of names was not looked after", extra={"reason": str(problem)})
            except Exception:
                # The next round may succeed, and readers are served meanwhile.
                log.exception("the index of names could not be looked after")
            await asyncio.sleep(EVERY)

    async def _completed(self) -> bool:
        """Whether the index is complete: this replica or another one completes it, unless that fails."""
        try:
            while not await self._is_complete():
                if await self._completing.take():
                    added = await self.scan(self._completing, between=URGENT)
                    await self._completing.give_back()
                    log.info("the index of names was completed", extra={"added": added})
                else:
                    await asyncio.sleep(0.1)
        except (Problem, NotInCharge) as problem:
            log.info("the index of names could not be completed", extra={"reason": str(problem)})
            return False
        return True

    async def _is_complete(self) -> bool:
        calls = [names_call(shard, prefix="", after="", count=0) for shard in ALL]
        return all(names_of(reply).complete for reply in await self._pipeline.reads(calls))

    async def _remove(self, shard: Shard, gone: Sequence[str], read: int) -> int:
        # First what the counters left behind, which cannot be found without their names.
        replies = await self._replies([Call((1, keys.COUNTER % name), FORGET, repeatable=True) for name in gone])
        return await self.unlist(shard, [name for name, still in zip(gone, replies, strict=True) if still], read)

    async def unlist(self, shard: Shard, gone: Sequence[str], read: int) -> int:
        """Remove names whose counters were looked for after `read`, and not found. Returns how many."""
        if not gone:
            return 0
        call = Call((2, shard.names, shard.stamps, read, READ_FOR, STAMPED_FOR, *gone), UNLIST, repeatable=True)
        [removed] = await self._replies([call])
        return int(removed)

    async def _add(self, names: Sequence[str]) -> int:
        shards: dict[Shard, list[str]] = {}
        for name in names:
            shards.setdefault(shard_of(name), []).append(name)
        calls = [Call((1, shard.names, *its), LACKING) for shard, its in shards.items()]
        lacking = [name.decode() for reply in await self._pipeline.reads(calls) for name in checked(reply)]
        if lacking:
            await self._names.listed(lacking)
        return len(lacking)

    async def _mark(self, token: str, word: str) -> None:
        await self._replies([Call((1, shard.state, token, word), MARK, repeatable=True) for shard in ALL])

    async def _replies(self, calls: Sequence[Call]) -> list[Any]:
        return [checked(reply) for reply in await self._pipeline.replies(calls)]


async def _step(lease: Lease | None, between: float) -> None:
    await asyncio.sleep(between)
    if lease is not None:
        await lease.keep()
