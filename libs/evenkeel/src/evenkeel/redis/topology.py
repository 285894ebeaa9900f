"""Which server holds a key: the only server, the primary that Sentinel names, or a node of a cluster."""

from typing import Protocol

from redis.asyncio.connection import AbstractConnection

from evenkeel.redis.cluster import Cluster
from evenkeel.redis.sentinel import SentinelPrimary
from evenkeel.redis.single_server import SingleServer
from evenkeel.redis.urls import LOOKS_LIKE, Credentials, UnusableURL, kind_of

NO_CREDENTIALS = Credentials()


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


def topology_of(url: str, *, name: str, sentinels: Credentials = NO_CREDENTIALS) -> Topology:
    """The topology behind the URL. Nothing is connected yet. `name` is the connections' in CLIENT LIST.

    Raise UnusableURL, whose message has no part of the URL.
    """
    try:
        match kind_of(url):
            case "sentinel":
                return SentinelPrimary(url, name=name, sentinels=sentinels)
            case "cluster":
                return Cluster(url, name=name)
            case _:
                return SingleServer(url, name=name)
    except UnusableURL:
        raise
    except (TypeError, ValueError):
        # redis-py's messages contain parts of the URL, so of the password.
        raise UnusableURL(f"must look like {LOOKS_LIKE}") from None
