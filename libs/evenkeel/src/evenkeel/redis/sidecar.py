"""Keeps a sidecar a replica of the primary that its service has found, also after a failover.

A sidecar is a replica in the pod of its only reader, on a Unix socket. Sentinel cannot reach it there, and so cannot
point it to a new primary. It may also be started when the primary in its configuration no longer exists.
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
"""Seconds between two checks of the primary that the sidecar follows."""


@contextlib.asynccontextmanager
async def following(sidecar: Redis, primary: Redis) -> AsyncIterator[None]:
    """While the block runs, the sidecar follows the server of `primary`, a client made by connect_to_primary.

    Only a replica with `replica-priority 0` is changed: Sentinel manages the others. If the address of the primary
    never changes, there is nothing to do.
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
    replication = await sidecar.info("replication")
    if replication["role"] != "slave" or replication["slave_priority"] != 0:
        return
    followed = joined(str(replication["master_host"]), int(replication["master_port"]))
    # The connections may still lead to the previous primary.
    if followed != leader and await way.search() == leader:
        await sidecar.replicaof(*map(str, host_and_port(leader)))
        log.info("the sidecar follows another primary", extra={"from": followed, "to": leader})
