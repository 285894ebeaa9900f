"""A redis-py client whose connections find their server: the primary, or the node of one slot.

A client of one address stays with its server. This client queries Sentinel, or the cluster, each time that it makes a
connection. When a server answers that it is not in charge (any more), all connections to it are closed. So the next
command finds the new server, and no command is sent twice.
"""

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as NoAnswer

from evenkeel.redis.cluster import Cluster
from evenkeel.redis.connecting import COMMAND_TIMEOUT, NO_MAINTENANCE, connect
from evenkeel.redis.sentinel import SentinelPrimary
from evenkeel.redis.topology import NO_CREDENTIALS, Movable, topology_of
from evenkeel.redis.urls import Credentials, addresses_in, host_and_port, joined

NOT_IN_CHARGE = (ReadOnlyError, MovedError, ClusterDownError, BusyLoadingError)
"""Errors of a server that is not in charge. redis-py raises MASTERDOWN as ClusterDownError."""


def connect_to_primary(
    url: str,
    *,
    slot_of: str,
    name: str,
    connections: int = 8,
    timeout: float = COMMAND_TIMEOUT,
    sentinels: Credentials = NO_CREDENTIALS,
) -> Redis:
    """A client of bytes in, bytes out, like `connect`'s, by any URL; in a cluster for keys in the slot of `slot_of`.

    Commands fail after `timeout` seconds, and so do attempts to connect. Raise UnusableURL for an unusable URL.
    """
    topology = topology_of(url, name=name, sentinels=sentinels)
    if not isinstance(topology, SentinelPrimary | Cluster):
        return connect(url, name=name, connections=connections, timeout=timeout)
    like = connect(topology.url(addresses_in(url)[0]), name=name, connections=connections, timeout=timeout)
    ssl = issubclass(like.connection_pool.connection_class, SSLConnection)
    options = {name: value for name, value in like.connection_pool.connection_kwargs.items() if name not in _OWN}
    pool = BlockingConnectionPool(
        max_connections=connections,
        timeout=timeout,
        connection_class=_TLSToPrimary if ssl else _ToPrimary,
        maint_notifications_config=NO_MAINTENANCE,
        way=Way(topology, slot_of),
        **options,
    )
    return Redis.from_pool(pool)


def way_of(client: Redis) -> "Way | None":
    """How the client finds its server; None if its address never changes."""
    way: Way | None = client.connection_pool.connection_kwargs.get("way")
    return way


_OWN = {"host", "port", "himport_registry"}
# What a pool's connections differ in here from those of the pool whose options they take.


class Way:
    """Keeps all connections of one client on the same server.

    Otherwise a process could read from one server and get its invalidations from another one. The two may differ while
    Sentinels disagree, or while an old primary still runs.
    """

    def __init__(self, topology: Movable, key: str) -> None:
        self._topology = topology
        self._key = key
        self._redirected_to: str | None = None
        self._connections: weakref.WeakSet[_ToPrimary] = weakref.WeakSet()
        self.address: str | None = None
        """The server of the latest connection."""

    async def find(self) -> tuple[str, int]:
        """Look up where the server is; raise RedisError, OSError or TimeoutError."""
        # The node that gave the slot away names the new node earlier than the other nodes do.
        address, self._redirected_to = self._redirected_to, None
        return host_and_port(address or await self._topology.find(self._key))

    async def search(self) -> str:
        """Look up the `host:port` of the server; the connections stay as they are."""
        return await self._topology.find(self._key)

    def left(self, connection: "_ToPrimary") -> None:
        """The connection has no server until it is connected (again)."""
        self._connections.discard(connection)

    async def made(self, connection: "_ToPrimary") -> None:
        """A connection is ready: close those to other servers."""
        await self._topology.confirm(connection)
        self.address = connection.address = joined(connection.host, connection.port)
        self._connections.add(connection)
        await self._end(lambda other: other.address != self.address)

    async def refused(self, connection: "_ToPrimary", error: RedisError) -> None:
        """The server is not in charge: close all connections to it."""
        if isinstance(error, MovedError):
            self._redirected_to = joined(error.host or connection.host, error.port)
        await self._end(lambda other: other.address == connection.address)

    async def _end(self, wrong: Callable[["_ToPrimary"], bool]) -> None:
        for other in list(self._connections):
            if wrong(other):
                self._connections.discard(other)
                with contextlib.suppress(RedisError, OSError):
                    await other.disconnect(nowait=True)


class _ToPrimary(Connection):
    """Finds its server at every attempt to connect."""

    def __init__(self, *, way: Way, **options: Any) -> None:
        super().__init__(**options)
        self._way = way
        self.address = ""

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:  # noqa: FBT001, FBT002 (redis-py's)
        """One time limit covers finding the server and connecting to it."""
        if self.is_connected:
            return
        try:
            async with asyncio.timeout(self.socket_connect_timeout):
                await super().connect_check_health(check_health, retry_socket_connect)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise NoAnswer("no primary was found in time") from None
        except BaseException:
            await self.disconnect(nowait=True)
            raise

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        with _closed_is_not_connected():
            await super().send_packed_command(*arguments, **options)

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            with _closed_is_not_connected():
                return await super().read_response(*arguments, **options)
        except NOT_IN_CHARGE as error:
            await self._way.refused(self, error)
            raise
        except ResponseError as error:
            # A primary that has lost its replicas may have been replaced.
            if str(error).startswith("NOREPLICAS"):
                await self._way.refused(self, error)
            raise

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 (redis-py's)
        await super().on_connect_check_health(check_health)
        await self._way.made(self)

    async def _connect(self) -> None:
        self._way.left(self)
        self.host, self.port = await self._way.find()
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py has not typed it


@contextlib.contextmanager
def _closed_is_not_connected() -> Iterator[None]:
    """redis-py raises AttributeError when another task closes the connection in the middle of a command."""
    try:
        yield
    except AttributeError as error:
        raise NotConnected("the connection was closed, its server is not in charge any more") from error


class _TLSToPrimary(_ToPrimary, SSLConnection):
    pass
