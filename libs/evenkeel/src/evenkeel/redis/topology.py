"""Which server holds a key: the only server, the primary that Sentinel names, or a node of a cluster."""

from typing import Protocol

from redis.asyncio.connection import AbstractConnection

from evenkeel.redis.connecting import connect


class Topology(Protocol):
    """Addresses are `host:port`, or "" where there is only one server at a time."""

    movable: bool
    """Whether the server of a key may change."""

    def address(self, key: str) -> str:
        """The server of the key, as known now. This queries nothing."""
        ...

    async def addresses(self) -> list[str]:
        """All servers that hold keys, without their replicas."""
        ...

    async def connect(self, address: str) -> AbstractConnection:
        """A new connection, ready for commands; raise RedisError, OSError or TimeoutError."""
        ...

    async def redirected(self, slot: int, address: str) -> None:
        """A server said that the slot is elsewhere now."""
        ...

    async def lost(self) -> None:
        """A server did not answer, or is not in charge: look for another one."""
        ...


class Movable(Protocol):
    """What a client needs to find the server of one key."""

    def url(self, address: str) -> str:
        """The URL of the server at this address, with credentials and options."""
        ...

    async def find(self, key: str) -> str:
        """Query the `host:port` of the server that has the key; raise RedisError, OSError or TimeoutError.

        A server that did not answer comes last in the next query, also if this one was cancelled.
        """
        ...

    async def confirm(self, connection: AbstractConnection) -> None:
        """Raise RedisError unless the connected server is in charge of its keys."""
        ...


class SingleServer:
    """redis://, rediss:// or unix://, as redis-py has them."""

    movable = False

    def __init__(self, url: str, *, name: str) -> None:
        """`name` is the connections' in CLIENT LIST; raise ValueError or TypeError for an unusable URL."""
        self._url = url
        self._name = name
        new_connection(url, name=name)

    def address(self, key: str) -> str:  # noqa: ARG002 (all of them)
        return ""

    async def addresses(self) -> list[str]:
        return [""]

    async def connect(self, address: str) -> AbstractConnection:  # noqa: ARG002 (the only one)
        return await opened(new_connection(self._url, name=self._name))

    async def redirected(self, slot: int, address: str) -> None:
        pass

    async def lost(self) -> None:
        pass


def new_connection(url: str, *, name: str) -> AbstractConnection:
    """Not connected yet; raise ValueError or TypeError for an unusable URL."""
    connection: AbstractConnection = connect(url, name=name, connections=1).connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has not typed it
    return connection


async def opened(connection: AbstractConnection) -> AbstractConnection:
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # as above
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    # A round trip has a time limit of its own.
    connection.socket_timeout = None
    return connection
