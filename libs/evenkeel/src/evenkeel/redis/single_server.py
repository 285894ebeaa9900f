"""One Redis server, which has all keys, and how a connection to a server is opened."""

from redis.asyncio.connection import AbstractConnection

from evenkeel.redis.connecting import connect


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
