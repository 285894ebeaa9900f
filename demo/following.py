"""How long readers go on to get an old user after a change that no program has made known."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.asyncio import Redis

from demo import tutorials
from demo.findings import EVENKEEL, TUTORIAL, Bar, Finding, seconds, unmet
from demo.stage import NAME, SETTLED, Stage, pid_of
from stack.errors import StackError
from verify.cache.tally import PROMISE
from verify.connection import NO_ANSWER
from verify.faults import stopped
from verify.target import Target

WINDOW = 10.0
"""Seconds for which answers are watched. The tutorial keeps users for minutes."""

POLL = 0.005
"""Seconds between two reads of one reader."""

SOON = 10.0
"""Seconds in which something that always happens must have happened."""

ATTEMPTS = 3

T = TypeVar("T")

NEW = "After"
UPDATE = "UPDATE users SET name = 'After' WHERE id = $1"
WAITING = "SELECT pid FROM pg_locks WHERE relation = 'users'::regclass AND NOT granted"
ACTIVE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1) AND state = 'active'"


@dataclass(frozen=True)
class Reader:
    """Reads users through the tutorial's program or one replica of user-api."""

    target: Target
    path: str

    async def read(self, user_id: int) -> tuple[str, str] | None:
        """The source and the name of the user; None without an answer."""
        try:
            reply = await self.target.pool.request("GET", f"{self.path}/{user_id}")
        except NO_ANSWER:
            return None
        if reply.status != 200:
            return None
        answer = reply.json()
        return answer["source"], answer["data"]["name"]

    async def until_cached(self, user_id: int) -> None:
        await _until(lambda: self.read(user_id), lambda answer: answer is not None and answer[0] != "database")

    async def follows(self, user_id: int, since: float) -> float | None:
        """Seconds from then until the new user was the answer; None if it was not in WINDOW seconds."""
        while (now := time.monotonic()) < since + WINDOW:
            answer = await self.read(user_id)
            if answer is not None and answer[1] == NEW:
                return now - since
            await asyncio.sleep(POLL)
        return None


@dataclass(frozen=True)
class Followed:
    """Seconds until each reader got the new user. None: not in WINDOW seconds."""

    tutorial: float | None
    replicas: Sequence[float | None]
    """Those of user-api."""
    ttl: float
    """For how many more seconds the tutorial's Redis will keep what it has."""


async def shown(stage: Stage) -> list[Finding]:
    hand = stage.new_user()
    target = Target.at("the tutorial", str(stage.cache.program.url))
    tutorial = Reader(target, "/user/redis")
    replicas = [Reader(replica, "/v1/users") for replica in stage.users.replicas]
    readers = [tutorial, *replicas]
    async with AsyncExitStack() as stack:
        stack.callback(target.pool.close)
        sql = await stack.enter_async_context(stage.sql())
        redis = await stack.enter_async_context(Redis.from_url(str(stage.cache_redis.program.dsn)))
        await asyncio.gather(*(reader.until_cached(hand) for reader in readers))
        late, resumed = await _filled_late(stage, [tutorial, replicas[0]], sql, redis)
        after_late = asyncio.create_task(_followed(readers, late, resumed, redis))
        await sql.execute(UPDATE, hand)
        after_hand = await _followed(readers, hand, time.monotonic(), redis)
        return [by_hand(after_hand), late_fill(await after_late)]


def by_hand(followed: Followed) -> Finding:
    return _finding("A row is changed by hand, with UPDATE", "", followed)


def late_fill(followed: Followed) -> Finding:
    return _finding(
        "A slow reader fills the cache after the change",
        "A reader pauses between its query and the cache. Meanwhile the row is changed, and its key deleted. ",
        followed,
    )


def _finding(title: str, what: str, followed: Followed) -> Finding:
    old = WINDOW if followed.tutorial is None else followed.tutorial
    ours = [WINDOW if each is None else each for each in followed.replicas]
    if followed.tutorial is None:
        theirs = f"still answers the old user after {seconds(old)}, and keeps it for {seconds(followed.ttl)} more"
    else:
        theirs = f"answers the new user after {seconds(old)}"
    return Finding(
        title,
        f"{what}The tutorial's cache {theirs}. Evenkeel's {len(ours)} replicas"
        f" {'do not all answer' if None in followed.replicas else 'all answer'} the new one after"
        f" {seconds(max(ours))}.",
        (
            Bar(TUTORIAL, old, f"old for {seconds(old)}", lasting=followed.tutorial is None),
            Bar(EVENKEEL, max(ours), seconds(max(ours)), lasting=None in followed.replicas),
        ),
        unmet(
            {
                "the tutorial's cache answered the new user": followed.tutorial is None,
                "the tutorial's Redis no longer had the old user": followed.ttl > 0,
                f"not every replica of Evenkeel followed within {seconds(PROMISE)}": max(ours) < PROMISE,
            }
        ),
    )


async def _followed(readers: Sequence[Reader], user_id: int, since: float, redis: Redis) -> Followed:
    """The first reader is the tutorial's."""
    tutorial, *replicas = await asyncio.gather(*(reader.follows(user_id, since) for reader in readers))
    return Followed(tutorial, replicas, await redis.ttl(tutorials.key(user_id)))


async def _filled_late(stage: Stage, readers: Sequence[Reader], sql: Any, redis: Redis) -> tuple[int, float]:
    """A user that each reader, the tutorial's first, has read before a change, and may have cached after it.

    The time is that when the readers' processes went on.
    """
    for _ in range(ATTEMPTS):
        user_id = stage.new_user()
        with contextlib.suppress(TimeoutError):
            resumed, names = await _fill_late(stage, readers, user_id, sql, redis)
            if names == {NAME}:
                return user_id, resumed
    raise StackError("no reader could be held up between its query and the cache")


async def _fill_late(
    stage: Stage, readers: Sequence[Reader], user_id: int, sql: Any, redis: Redis
) -> tuple[float, set[str | None]]:
    """When the readers' processes went on, and which names they have got. They stop after they have sent their query.

    A lock of the table holds up the queries until the processes have stopped. So everything happens in this order. On a
    busy machine, a replica may give up such a read: then the name is None.
    """
    pids = [pid_of(stage.cache), *[await stage.pid(reader.target.name) for reader in readers[1:]]]
    prepared = stage.new_user()
    for reader in readers:  # so that the next query is one round trip
        await reader.read(prepared)
    async with AsyncExitStack() as resuming:
        async with sql.transaction():
            await sql.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            reading = [asyncio.create_task(reader.read(user_id)) for reader in readers]
            queries = await _until(lambda: sql.fetch(WAITING), lambda found: len(found) == len(readers))
            for pid in pids:
                await resuming.enter_async_context(stopped(pid))
        backends = [query["pid"] for query in queries]
        await _until(lambda: sql.fetchval(ACTIVE, backends), lambda active: active == 0)
        await sql.execute(UPDATE, user_id)
        await redis.delete(tutorials.key(user_id))
        await asyncio.sleep(SETTLED)
    resumed = time.monotonic()
    return resumed, {answer and answer[1] for answer in await asyncio.gather(*reading)}


async def _until(ask: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> T:
    async with asyncio.timeout(SOON):
        while not good(answer := await ask()):  # noqa: ASYNC110 (other processes set no event)
            await asyncio.sleep(POLL)
        return answer
