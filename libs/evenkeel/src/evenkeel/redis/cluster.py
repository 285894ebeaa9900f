"""Redis Cluster: each of 16,384 slots is on one node. Keys with the same hash tag are in one slot."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError

from evenkeel.redis.single_server import new_connection, opened
from evenkeel.redis.urls import UnusableURL, addresses_in, host_and_port, joined, path_of, url_at

SLOTS = 16384

ANSWER_WITHIN = 1.0
"""Seconds that a node has to answer where the slots are. Then the next node is queried."""

REFRESH_PAUSE = 0.1
"""Seconds between two such queries, however many callers need the answer."""


class Cluster:
    """redis+cluster://[user:password@]host:port[,host:port…]: some of the nodes. They list the others."""

    movable = True

    def __init__(self, url: str, *, name: str) -> None:
        """`name` is the connections' in CLIENT LIST; raise ValueError or TypeError for an unusable URL."""
        if path_of(url) not in {"", "/", "/0"}:
            raise UnusableURL("a cluster has no other database than 0")
        self._url = url
        self._name = name
        self._seeds = addresses_in(url)
        new_connection(url_at(url, self._seeds[0]), name=name)
        # Until a node has answered. This one redirects commands for slots of other nodes.
        self._slots = [self._seeds[0]] * SLOTS
        self._known = False
        self._nodes = list(self._seeds)
        self._refreshing = asyncio.Lock()
        self._refreshed = -REFRESH_PAUSE

    def address(self, key: str) -> str:
        return self._slots[key_slot(key.encode())]

    async def addresses(self) -> list[str]:
        if not self._known:
            await self.lost()
        if not self._known:
            raise NotConnected("no node says where the slots are")
        return sorted(set(self._slots))

    async def connect(self, address: str) -> AbstractConnection:
        return await opened(new_connection(self.url(address), name=self._name))

    async def redirected(self, slot: int, address: str) -> None:
        self._slots[slot] = address
        await self.lost()

    async def lost(self) -> None:
        """Query where the slots are; `address` then uses what was found."""
        asked = time.monotonic()
        async with self._refreshing:
            # Another caller has queried since this call began.
            if self._refreshed > asked - REFRESH_PAUSE:
                return
            for address in list(self._nodes):
                # Last in the next round, even if it answers: the node may be cut off, and its answer out of date.
                self._nodes.remove(address)
                self._nodes.append(address)
                try:
                    async with asyncio.timeout(ANSWER_WITHIN):
                        self._take(await self._ask(address), address)
                except (RedisError, OSError, TimeoutError):
                    continue
                break
            self._refreshed = time.monotonic()

    def url(self, address: str) -> str:
        return url_at(self._url, address)

    async def find(self, key: str) -> str:
        await self.lost()
        return self.address(key)

    async def confirm(self, connection: AbstractConnection) -> None:
        """Nothing to check: a node without the slot refuses every command that has a key."""

    async def _ask(self, address: str) -> Any:
        connection = await self.connect(address)
        try:
            await connection.send_command("CLUSTER", "SLOTS")
            return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)

    def _take(self, ranges: Iterable[Any], asked: str) -> None:
        own_host, _ = host_and_port(asked)
        for first, last, (host, port, *_), *_ in ranges:
            # A node leaves its own address out until it learns the address from another node.
            address = joined(host.decode() if host and host != b"?" else own_host, port)
            self._slots[first : last + 1] = [address] * (last + 1 - first)
            self._known = True
        for address in dict.fromkeys(self._slots):
            if address not in self._nodes:
                self._nodes.insert(0, address)
