"""The primary that Redis Sentinel names. Every new connection queries Sentinel."""

import asyncio
import re

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as NotConnected

from evenkeel.redis.single_server import new_connection, opened
from evenkeel.redis.urls import Credentials, UnusableURL, addresses_in, joined, path_of, sentinel_url, url_at

ANSWER_WITHIN = 1.0
"""Seconds that one Sentinel has to answer. Then the next one is queried."""

_PATH = re.compile(r"/([^/]+)(/[0-9]+)?")


class SentinelPrimary:
    """redis+sentinel://[user:password@]host:port[,host:port…]/service[/database].

    The Sentinels have credentials of their own, or none.
    """

    movable = True

    def __init__(self, url: str, *, name: str, sentinels: Credentials) -> None:
        """`name` is the connections' in CLIENT LIST; raise ValueError or TypeError for an unusable URL."""
        match = _PATH.fullmatch(path_of(url))
        if match is None:
            raise UnusableURL("the name of the service is missing: redis+sentinel://host:port,…/service")
        self._service, self._database = match[1], match[2] or ""
        self._url = url
        self._name = name
        self._credentials = sentinels
        self._sentinels = addresses_in(url)
        new_connection(url_at(url, self._sentinels[0], path=self._database), name=name)

    def address(self, key: str) -> str:  # noqa: ARG002 (all of them)
        return ""

    async def addresses(self) -> list[str]:
        return [""]

    async def connect(self, address: str) -> AbstractConnection:  # noqa: ARG002 (wherever it is)
        """Connect to a server that a Sentinel names, and whose ROLE is primary."""
        reasons = []
        for sentinel in list(self._sentinels):
            try:
                connection = await self._connect(await self._ask(sentinel))
            except (RedisError, OSError, TimeoutError) as error:
                reasons.append(f"{sentinel}: {str(error) or 'no answer'}")
            else:
                return connection
        raise self._nowhere(reasons)

    async def redirected(self, slot: int, address: str) -> None:
        pass

    async def lost(self) -> None:
        pass

    def url(self, address: str) -> str:
        return url_at(self._url, address, path=self._database)

    async def find(self, key: str) -> str:  # noqa: ARG002 (all of them)
        reasons = []
        for sentinel in list(self._sentinels):
            try:
                return await self._ask(sentinel)
            except (RedisError, OSError, TimeoutError) as error:
                reasons.append(f"{sentinel}: {str(error) or 'no answer'}")
        raise self._nowhere(reasons)

    async def confirm(self, connection: AbstractConnection) -> None:
        await connection.send_command("ROLE")
        role = await connection.read_response()
        if role[0] != b"master":
            # Another Sentinel may already name the new primary.
            self._last(self._sentinels[0])
            raise NotConnected(f"{connection._host_error()} is not the primary yet")  # noqa: SLF001 (its address)

    async def _ask(self, sentinel: str) -> str:
        answered = False
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                address = await self._primary_by(sentinel)
            answered = True
        finally:
            if not answered:
                self._last(sentinel)
        return address

    async def _primary_by(self, sentinel: str) -> str:
        url = sentinel_url(self._url, sentinel, self._credentials)
        try:
            connection = await opened(new_connection(url, name=self._name))
        except AuthenticationError as error:
            raise AuthenticationError(f"it does not take the Sentinels' user and password: {error}") from None
        try:
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            found = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        if not found:
            raise ResponseError(f"it has no service {self._service}")
        return joined(found[0].decode(), int(found[1]))

    async def _connect(self, primary: str) -> AbstractConnection:
        connection = await opened(new_connection(self.url(primary), name=self._name))
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self.confirm(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _last(self, sentinel: str) -> None:
        """Query this Sentinel last in the next round."""
        self._sentinels.remove(sentinel)
        self._sentinels.append(sentinel)

    def _nowhere(self, reasons: list[str]) -> NotConnected:
        return NotConnected(f"no Sentinel leads to a primary of {self._service}: {'; '.join(reasons)}")
