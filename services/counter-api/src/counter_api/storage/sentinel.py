"""The primary that Redis Sentinel names, asked for with every connection that is made."""

import asyncio
import re
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError, ResponseError

from counter_api.storage.topology import addresses_in, new_connection, opened, url_at

ANSWER_WITHIN = 1.0
"""Seconds that one Sentinel has, before the next one is asked."""

_PATH = re.compile(r"/([^/]+)(/[0-9]+)?")


class SentinelPrimary:
    """redis+sentinel://[user:password@]host:port[,host:port…]/service[/database].

    The Sentinels are asked with the same credentials as the servers.
    """

    movable = True

    def __init__(self, url: str, *, name: str) -> None:
        """`name` is the connections' in CLIENT LIST; raise ValueError or TypeError for an unusable URL."""
        match = _PATH.fullmatch(urlsplit(url).path)
        if match is None:
            raise ValueError("the name of the service is missing")
        self._service, self._database = match[1], match[2] or ""
        self._url = url
        self._name = name
        self._sentinels = addresses_in(url)
        new_connection(url_at(url, self._sentinels[0]), name=name)

    def address(self, key: str) -> str:  # noqa: ARG002 (all of them)
        return ""

    async def addresses(self) -> list[str]:
        return [""]

    async def connect(self, address: str) -> AbstractConnection:  # noqa: ARG002 (wherever it is)
        """To a server that a Sentinel names and that says itself that it is the primary."""
        reasons = []
        for sentinel in list(self._sentinels):
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    primary = await self._ask(sentinel)
                connection = await self._connect(primary)
            except (RedisError, OSError, TimeoutError) as error:
                reasons.append(f"{sentinel}: {str(error) or 'no answer'}")
            else:
                # Who has answered is asked first next time.
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return connection
        raise NotConnected(f"no Sentinel leads to a primary of {self._service}: {'; '.join(reasons)}")

    async def redirected(self, slot: int, address: str) -> None:
        pass

    async def lost(self) -> None:
        pass

    async def _ask(self, sentinel: str) -> str:
        connection = await opened(new_connection(url_at(self._url, sentinel), name=self._name))
        try:
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            found = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        if not found:
            raise ResponseError(f"it does not know {self._service}")
        host, port = found[0].decode(), int(found[1])
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _connect(self, primary: str) -> AbstractConnection:
        connection = await opened(new_connection(url_at(self._url, primary, path=self._database), name=self._name))
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await connection.send_command("ROLE")
                role = await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if role[0] != b"master":
            await connection.disconnect(nowait=True)
            raise NotConnected(f"{primary} is not the primary yet")
        return connection
