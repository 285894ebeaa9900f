"""Keeps a sidecar a replica of the primary that its service has found, also after a failover.

A replica in the pod of its only reader, on a Unix socket, cannot be reached by Sentinel, which tells other replicas of
a new primary; and it may be started when the primary that it was configured with is gone.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from redis.asyncio import Redis
from redis.exceptions import RedisError

from evenkeel.redis.primary import Way, way_of
from evenkeel.redis.urls import host_and_port, joined
from evenkeel.tasks.background import running
from evenkeel.tasks.failures import Failures

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at whom the sidecar follows."""


@contextlib.asynccontextmanager
async def following(sidecar: Redis, primary: Redis) -> AsyncIterator[None]:
    """Meanwhile the sidecar follows where `primary`, made by connect_to_primary, leads.

    Only a replica with `replica-priority 0` is told whom to follow: others are Sentinel's own. With a primary that has
    one address for ever there is nothing to do.
    """
    way = way_of(primary)
    if way is None:
        yield
        return
    async with running(_follow(sidecar, way)):
        yield


async def _follow(sidecar: Redis, way: Way) -> None:
    failures = Failures(log, "the sidecar cannot be led to the primary")
    while True:
        try:
            await _look(sidecar, way)
        except (RedisError, OSError, TimeoutError) as error:
            failures.add(error)
        else:
            failures.end()
        await asyncio.sleep(LOOK_EVERY)


async def _look(sidecar: Redis, way: Way) -> None:
    if (leader := way.address) is None:
        return
    told = await sidecar.info("replication")
    if told["role"] != "slave" or told["slave_priority"] != 0:
        return
    followed = joined(str(told["master_host"]), int(told["master_port"]))
    # The connections may still be to the primary before this one.
    if followed != leader and await way.search() == leader:
        await sidecar.replicaof(*map(str, host_and_port(leader)))
        log.info("the sidecar follows another primary", extra={"from": followed, "to": leader})
