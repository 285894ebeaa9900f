"""Embedded Valkey servers for the counters of one test: one, a primary and replica, under Sentinel, a cluster."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.support.child import Child
from tests.support.proxy import Proxy, proxied

from stack import valkey
from stack.layout import free_port
from stack.valkey import Valkey

PASSWORD = "test"

own_servers = pytest.mark.parametrize("counters_url", [""], ids=[pytest.HIDDEN_PARAM])
"""For tests that bring all servers that they use. The fixture `counters_url` has no server for them, so they neither
start those of the backend nor run again for another backend.
"""


class CountersServer(Child):
    def __init__(self, server: Valkey, log: Path, port: int) -> None:
        program = server.program()
        super().__init__(program, log)
        self.binary = program.argv[0]
        self.port = port
        self.url = server.url

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        async with Redis.from_url(self.url) as client:
            yield client


def counters_server(
    directory: Path, name: str, **settings: str
) -> contextlib.AbstractAsyncContextManager[CountersServer]:
    """A server with the settings of the local stack's counters. Underscores in names stand for hyphens."""
    return server_with(valkey.COUNTERS, directory, name, **settings)


@asynccontextmanager
async def server_with(
    base: Mapping[str, str], directory: Path, name: str, **settings: str
) -> AsyncIterator[CountersServer]:
    port = free_port()
    named = {setting.replace("_", "-"): value for setting, value in settings.items()}
    server = Valkey(name, directory / name, port, PASSWORD, {**base, "primaryauth": PASSWORD, **named})
    await server.create()
    async with CountersServer(server, directory / f"{name}.log", port) as running:
        yield running


@dataclass(frozen=True)
class CountersPair:
    primary: CountersServer
    replica: CountersServer
    link: Proxy
    """The proxy through which the replica follows the primary."""

    async def in_step(self) -> bool:
        """Whether the replica has everything on disk that the primary has."""
        async with self.primary.client() as primary:
            primary.response_callbacks.clear()
            await primary.set("in-step", 1)
            reply: list[int] = await primary.execute_command("WAITAOF", 1, 1, 100)  # type: ignore[no-untyped-call]  # redis-py has not typed it
            return reply == [1, 1]


@asynccontextmanager
async def counters_pair(directory: Path, *, direct: bool = False) -> AsyncIterator[CountersPair]:
    """With `direct` the replica follows the primary under its own address, not through the proxy."""
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(
            counters_server(directory, "primary", repl_diskless_sync_delay="0", repl_timeout="60")
        )
        link = await stack.enter_async_context(proxied(primary.url, free_port()))
        await link.open()
        port = primary.port if direct else int(link.url.rpartition(":")[2].partition("/")[0])
        replica = await stack.enter_async_context(
            counters_server(directory, "replica", replicaof=f"127.0.0.1 {port}", repl_diskless_sync_delay="0")
        )
        yield CountersPair(primary, replica, link)


@dataclass(frozen=True)
class Cluster:
    nodes: list[CountersServer]

    @property
    def url(self) -> str:
        return f"redis+cluster://:{PASSWORD}@" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    async def call(self, node: CountersServer, *command: str | int) -> Any:
        async with node.client() as client:
            client.response_callbacks.clear()
            return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has not typed it

    async def agrees(self) -> bool:
        """Whether every node knows all other nodes, and the node of every slot."""
        for node in self.nodes:
            state = (await self.call(node, "CLUSTER", "INFO")).decode()
            if "cluster_state:ok" not in state or f"cluster_known_nodes:{len(self.nodes)}" not in state:
                return False
        return True

    async def name(self, node: CountersServer) -> str:
        return str((await self.call(node, "CLUSTER", "MYID")).decode())

    @asynccontextmanager
    async def moving(self, slot: int, source: CountersServer, target: CountersServer) -> AsyncIterator[None]:
        """As `redis-cli --cluster reshard` does it. In the block, the keys have moved but the slot has not."""
        source_name, target_name = await self.name(source), await self.name(target)
        await self.call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_name)
        await self.call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_name)
        while keys := await self.call(source, "CLUSTER", "GETKEYSINSLOT", slot, 10):
            await self.call(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *keys)
        yield
        for node in (target, source):
            await self.call(node, "CLUSTER", "SETSLOT", slot, "NODE", target_name)

    async def move(self, slot: int, source: CountersServer, target: CountersServer) -> None:
        async with self.moving(slot, source, target):
            pass


def counters_cluster(directory: Path) -> contextlib.AbstractAsyncContextManager[Cluster]:
    """Three nodes with a third of the slots each."""
    return cluster_of(3, valkey.COUNTERS, directory, cluster_node_timeout="2000")


@asynccontextmanager
async def cluster_of(count: int, base: Mapping[str, str], directory: Path, **settings: str) -> AsyncIterator[Cluster]:
    """So many nodes. The first three have a third of the slots each."""
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                server_with(
                    base,
                    directory,
                    f"node{number}",
                    cluster_enabled="yes",
                    cluster_port=str(free_port()),
                    **settings,
                )
            )
            for number in range(count)
        ]
        cluster = Cluster(nodes)
        bus = [(await cluster.call(node, "CONFIG", "GET", "cluster-port"))[b"cluster-port"].decode() for node in nodes]
        for number, node in enumerate(nodes):
            if number < 3:
                await cluster.call(node, "CLUSTER", "ADDSLOTSRANGE", 16384 * number // 3, 16384 * (number + 1) // 3 - 1)
            for other, port in zip(nodes, bus, strict=True):
                await cluster.call(node, "CLUSTER", "MEET", "127.0.0.1", other.port, port)
        while not await cluster.agrees():  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0.05)
        yield cluster
