"""Embedded Valkey servers for the cache of one test: a primary and replica under Sentinel, and a cluster."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.crc import key_slot
from tests.support.counters_redis import PASSWORD, Cluster, CountersServer, cluster_of, server_with
from tests.support.sentinel import Sentinel

from stack import sidecar, valkey

SLOT = key_slot(b"{user}")
"""The slot of user-api's cache."""


def cache_server(directory: Path, name: str, **settings: str) -> AbstractAsyncContextManager[CountersServer]:
    """A server with the settings of the local stack's cache. Underscores in names stand for hyphens."""
    return server_with(valkey.CACHE, directory, name, **settings)


SIDECAR = {name: value for name, value in sidecar.SETTINGS.items() if name not in {"port", "replica-priority"}}


@asynccontextmanager
async def sidecar_of(leader: str, directory: Path, *, priority: int = 0) -> AsyncIterator[str]:
    """The URL of a sidecar. As in a pod, nothing else can reach it."""
    socket = directory / "sidecar.sock"
    # Only the test uses the port, to see whether the server has started. Sentinel gets another port.
    settings = {"unixsocket": str(socket), "replica_announce_port": "1", "replica_priority": str(priority)}
    async with cache_server(directory, "sidecar", **SIDECAR | settings, replicaof=leader):
        yield f"unix://:{PASSWORD}@{socket}"


async def followed(sidecar_url: str) -> int:
    """The port of the server that the sidecar follows."""
    async with Redis.from_url(sidecar_url) as redis:
        return int((await redis.info("replication"))["master_port"])


async def follows(sidecar_url: str, port: int) -> bool:
    return await followed(sidecar_url) == port


@dataclass(frozen=True)
class WatchedCache:
    """A primary and its replica, watched by a Sentinel."""

    primary: CountersServer
    replica: CountersServer
    sentinel: Sentinel

    async def failed_over(self) -> bool:
        return await self.sentinel.primary_port() == self.replica.port


@asynccontextmanager
async def watched_cache(directory: Path, **settings: str) -> AsyncIterator[WatchedCache]:
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(cache_server(directory, "primary", **settings))
        leader = {"replicaof": f"127.0.0.1 {primary.port}"}
        replica = await stack.enter_async_context(cache_server(directory, "replica", **settings, **leader))
        sentinel = await stack.enter_async_context(Sentinel(directory, primary, password=PASSWORD))
        while not await sentinel.knows_replica():  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0.05)
        yield WatchedCache(primary, replica, sentinel)


@asynccontextmanager
async def cache_cluster(directory: Path, **settings: str) -> AsyncIterator[Cluster]:
    """Three nodes with a third of the slots each. The last server is a replica of the node with the cache's slot."""
    async with cluster_of(4, valkey.CACHE, directory, cluster_node_timeout="1000", **settings) as cluster:
        nodes = cluster.nodes
        await cluster.call(nodes[3], "CLUSTER", "REPLICATE", await cluster.name(owner(cluster)))
        while b"master_link_status:up" not in await cluster.call(nodes[3], "INFO", "replication"):  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.05)
        yield cluster


def owner(cluster: Cluster) -> CountersServer:
    """The node that had the cache's slot at first."""
    return cluster.nodes[SLOT * 3 // 16384]
