"""Embedded Valkey servers for one test, which may freeze, kill or promote them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from redis.asyncio import Redis
from tests.support.child import Child
from tests.support.proxy import Proxy, proxied

from stack import sidecar, valkey
from stack.layout import free_port
from stack.valkey import Valkey

PASSWORD = "test"


class RedisServer(Child):
    """A server configured as a cache."""

    def __init__(self, server: Valkey, log: Path, socket: Path | None = None) -> None:
        super().__init__(server.program(), log)
        self.url = server.url
        self.socket_url = f"unix://:{PASSWORD}@{quote(str(socket))}?db=0"

    async def forget_history(self) -> None:
        """From now on, replicas that lose their connection need all data again."""
        async with self.client() as client:
            await client.execute_command("DEBUG", "CHANGE-REPL-ID")  # type: ignore[no-untyped-call]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        async with Redis.from_url(self.url) as client:
            yield client

    async def promote(self) -> None:
        """Make a replica a primary, with the data that it has."""
        async with self.client() as client:
            await client.replicaof("NO", "ONE")

    async def follow(self, url: str) -> None:
        """Make it a replica of another server, or through another proxy."""
        address = urlsplit(url)
        async with self.client() as client:
            await client.replicaof(str(address.hostname), str(address.port))


@asynccontextmanager
async def redis_server(directory: Path) -> AsyncIterator[RedisServer]:
    settings = valkey.CACHE | {"enable-debug-command": "yes"}
    server = Valkey("primary", directory / "primary", free_port(), PASSWORD, settings)
    await server.create()
    async with RedisServer(server, directory / "primary.log") as running:
        yield running


@dataclass(frozen=True)
class RedisPair:
    primary: RedisServer
    replica: RedisServer
    """It also listens on a Unix socket, like a sidecar."""
    link: Proxy
    """The proxy through which the replica follows the primary."""

    async def in_step(self) -> bool:
        """Whether the replica has received everything from the primary."""
        async with self.primary.client() as primary, self.replica.client() as replica:
            followed = await replica.info("replication")
            led = await primary.info("replication")
            caught_up: bool = followed["slave_repl_offset"] == led["master_repl_offset"]
            return caught_up and followed["master_link_status"] == "up"

    async def fail_over(self, address: Proxy) -> None:
        """Promote the replica, and lead the clients of this address to it."""
        await self.replica.promote()
        address.switch(self.replica.url)
        address.reset()


@asynccontextmanager
async def redis_pair(directory: Path) -> AsyncIterator[RedisPair]:
    """A primary and a replica, configured as the local stack's cache and sidecar."""
    async with redis_server(directory) as primary, proxied(primary.url, free_port()) as link:
        await link.open()
        socket = directory / "replica.sock"
        replica_port = free_port()
        settings = sidecar.SETTINGS | {
            "port": str(replica_port),
            "unixsocket": str(socket),
            "replicaof": f"127.0.0.1 {urlsplit(link.url).port}",
            "primaryauth": PASSWORD,
        }
        server = Valkey("replica", directory / "replica", replica_port, PASSWORD, settings)
        await server.create()
        async with RedisServer(server, directory / "replica.log", socket) as replica:
            yield RedisPair(primary, replica, link)
