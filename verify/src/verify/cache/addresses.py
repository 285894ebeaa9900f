"""E-mail addresses that move from user to user, by SQL, while users are looked up by them."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from verify.cache.address_book import NOBODY, AddressBook, Holder
from verify.cache.prober import Prober
from verify.cache.scene import SEEN_BY_THEN, Scene
from verify.cache.sql import DELETE, INSERT, connected

PEOPLE = 12
"""Users, each of which has one address."""

FREE = 4
"""Addresses that are free at first."""

LASTING = 6.0
"""Seconds of changes."""

PAUSE = 0.1
"""Seconds between two changes: an address keeps its user for about a second."""

READERS = 8

MOVE = "UPDATE users SET email = $2 WHERE id = $1"

Holders = dict[str, Holder]


async def change_hands(scene: Scene) -> None:
    """Swap, free and reuse addresses, and look users up by them meanwhile."""
    dsn = scene.local.dsn
    prefix = f"{scene.rows.prefix}address-"
    book = AddressBook([f"{prefix}{number}@example.com" for number in range(PEOPLE + FREE)])
    async with connected(dsn) as connection:
        registry = Registry(connection, book, spare=f"{prefix}spare@example.com", names=scene.rows.next_name)
        for _ in range(PEOPLE):
            await registry.change(registry.join)
        await _read_while(scene, book, _changing(registry))
        while book.taken():
            await registry.change(registry.leave)


async def _changing(registry: "Registry") -> None:
    end = time.monotonic() + LASTING
    while time.monotonic() < end:
        await registry.change()
        await asyncio.sleep(PAUSE)
    await asyncio.sleep(SEEN_BY_THEN)


async def _read_while(scene: Scene, book: AddressBook, changing: Awaitable[None]) -> None:
    prober, ended = Prober(scene.rows), asyncio.Event()

    async def read() -> None:
        while not ended.is_set():
            address = random.choice(book.addresses)
            await prober.read_by_email(scene.local.any(), book, address, scene.tally)
            await asyncio.sleep(READERS / scene.rates.reads)

    async with asyncio.TaskGroup() as group:
        for _ in range(READERS):
            group.create_task(read())
        try:
            await changing
        finally:
            ended.set()


class Registry:
    """Moves addresses, each time in one transaction, and notes that in the book."""

    def __init__(self, connection: Any, book: AddressBook, *, spare: str, names: Callable[[], str]) -> None:
        """`spare` is an address that is used only within a transaction. `names` are those of new users."""
        self._connection = connection
        self._book = book
        self._spare = spare
        self._names = names

    async def change(self, what: Callable[[], Awaitable[Holders]] | None = None) -> None:
        """The given kind of change, or a random one."""
        if what is None:
            what = random.choice((self.swap, self.swap, self.move, self.move, self.replace))
        async with self._connection.transaction():
            holders = await what()
            self._book.begun(holders)
        self._book.committed(holders)

    async def swap(self) -> Holders:
        """Two users exchange their addresses."""
        (one, first), (other, second) = random.sample(list(self._book.taken().items()), 2)
        for person, address in ((one, self._spare), (other, first), (one, second)):
            await self._connection.execute(MOVE, person, address)
        return {first: other, second: one}

    async def move(self) -> Holders:
        """A user takes a free address, and frees its own."""
        person, before = self._somebody()
        now = random.choice(self._book.free())
        await self._connection.execute(MOVE, person, now)
        return {before: NOBODY, now: person}

    async def replace(self) -> Holders:
        """A user is deleted, and a new one gets its address."""
        person, address = self._somebody()
        await self._connection.execute(DELETE, person)
        return {address: await self._insert(address)}

    async def join(self) -> Holders:
        address = random.choice(self._book.free())
        return {address: await self._insert(address)}

    async def leave(self) -> Holders:
        person, address = self._somebody()
        await self._connection.execute(DELETE, person)
        return {address: NOBODY}

    def _somebody(self) -> tuple[int, str]:
        return random.choice(list(self._book.taken().items()))

    async def _insert(self, address: str) -> int:
        person: int = (await self._connection.fetchrow(INSERT, address, self._names()))["id"]
        return person
