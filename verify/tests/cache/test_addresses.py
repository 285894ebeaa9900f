"""Reads by e-mail are judged by the holders of the address and the times of their holding."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import asyncpg
import pytest
from tests.support import fake_http
from tests.support.users import count

from verify.cache import addresses
from verify.cache.address_book import NOBODY, AddressBook
from verify.cache.open_loop import Rates
from verify.cache.prober import Prober
from verify.cache.rows import Rows
from verify.cache.scene import Scene
from verify.cache.tally import PROMISE, CacheTally
from verify.deployment import Local
from verify.target import Target

pytestmark = pytest.mark.anyio

ADDRESS = "verify.run.address-1@example.com"


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Stack:
    """The part of a deployment that a scenario uses."""

    dsn: str
    target: Target

    def any(self) -> Target:
        return self.target


def _book(clock: Clock) -> AddressBook:
    """Free, then user 1's from 10 on, then user 2's from 20 on."""
    book = AddressBook([ADDRESS], clock)
    for clock.now, holder in ((10.0, 1), (20.0, 2)):
        book.begun({ADDRESS: holder})
        book.committed({ADDRESS: holder})
    return book


@pytest.mark.parametrize(
    ("holder", "asked", "staleness"),
    [
        (2, 25.0, 0.0),
        (2, 19.0, 0.0),  # the change was under way when the question was sent
        (1, 19.0, 0.0),
        (1, 23.5, 3.5),
        (NOBODY, 25.0, 15.0),
        (3, 25.0, None),
    ],
)
def test_staleness_counts_from_when_the_address_was_lost(
    holder: int | None, asked: float, staleness: float | None
) -> None:
    assert _book(Clock()).staleness(ADDRESS, holder, asked) == staleness


def test_while_a_change_is_committed_both_may_have_the_address() -> None:
    clock = Clock()
    book = _book(clock)
    clock.now = 30.0
    book.begun({ADDRESS: 3})
    assert book.holder(ADDRESS) == 2
    assert [book.staleness(ADDRESS, holder, 35.0) for holder in (2, 3)] == [0, 0]
    clock.now = 31.0
    book.committed({ADDRESS: 3})
    assert [book.staleness(ADDRESS, holder, 35.0) for holder in (2, 3)] == [4, 0]
    assert (book.taken(), book.free()) == ({3: ADDRESS}, [])


def test_an_address_may_come_back() -> None:
    clock = Clock()
    book = _book(clock)
    clock.now = 30.0
    for holder in (1, NOBODY):
        book.begun({ADDRESS: holder})
        book.committed({ADDRESS: holder})
    assert book.staleness(ADDRESS, 1, 31.0) == 1
    assert (book.taken(), book.free()) == ({}, [ADDRESS])


def _said(user_id: int | None, email: str, cache_status: str = "memory; hit") -> fake_http.Answer:
    headers = (f"Cache-Status: {cache_status}",)
    if user_id is None:
        return fake_http.Answer(404, headers=headers)
    return fake_http.Answer(200, {"source": "memory", "data": {"id": user_id, "email": email}}, headers)


@pytest.mark.parametrize(
    ("answer", "asked", "breach"),
    [
        (_said(2, ADDRESS), 25.0, None),
        (_said(1, ADDRESS), 20 + PROMISE, None),
        (_said(1, ADDRESS), 25.0, "late"),
        (_said(None, ADDRESS), 25.0, "late"),
        (_said(3, ADDRESS), 25.0, "foreign"),
        (_said(2, "other@example.com"), 25.0, "foreign"),
        (_said(1, ADDRESS, "memory; hit; stale"), 25.0, None),
        (fake_http.Answer(200, ["no user"]), 25.0, "foreign"),
    ],
)
async def test_an_answer_is_judged(answer: fake_http.Answer, asked: float, breach: str | None) -> None:
    clock, tally = Clock(), CacheTally("addresses", strict=False)
    book = _book(clock)
    clock.now = asked
    async with _replica(lambda _: answer) as target:
        await Prober(Rows("run"), clock).read_by_email(target, book, ADDRESS, tally)
    assert list(tally.breaches) == ([breach] if breach else [])
    assert (tally.reads + tally.marked == 1) is (breach != "foreign")


async def test_a_refusal_is_an_error() -> None:
    tally = CacheTally("addresses", strict=False)
    async with _replica(lambda _: fake_http.Answer(503)) as target:
        await Prober(Rows("run"), Clock()).read_by_email(target, _book(Clock()), ADDRESS, tally)
    assert (dict(tally.errors), tally.breaches.total(), tally.reads) == ({"read by e-mail 503": 1}, 0, 0)


@pytest.mark.parametrize(("learns", "breaches"), [(True, set()), (False, {"late"})])
async def test_a_replica_that_keeps_the_first_users_of_addresses_is_found(
    database_url: str, monkeypatch: pytest.MonkeyPatch, *, learns: bool, breaches: set[str]
) -> None:
    monkeypatch.setattr(addresses, "LASTING", 3.0)
    monkeypatch.setattr(addresses, "SEEN_BY_THEN", 0.1)
    books: list[AddressBook] = []

    def opened(known: list[str]) -> AddressBook:
        books.append(AddressBook(known))
        return books[0]

    monkeypatch.setattr(addresses, "AddressBook", opened)
    first: dict[str, int | None] = {}

    def respond(request: fake_http.Request) -> fake_http.Answer:
        address = request.path.partition("?email=")[2]
        holder = books[0].holder(address)
        return _said(holder if learns else first.setdefault(address, holder), address)

    rows, tally = Rows("run"), CacheTally("addresses", strict=False)
    async with _replica(respond) as target:
        local = cast("Local", Stack(database_url, target))
        await addresses.change_hands(Scene(local, rows, Rates(reads=200, writes=1), tally))
    assert set(tally.breaches) == breaches
    assert tally.reads > 20
    assert await count(database_url) == 0


async def test_each_change_is_what_the_database_has(database_url: str) -> None:
    book = AddressBook([f"{number}@example.com" for number in range(6)])
    connection = await asyncpg.connect(database_url)
    try:
        registry = addresses.Registry(connection, book, spare="spare@example.com", names=lambda: "Ada")
        for what in (registry.join, registry.join, registry.join, registry.swap, registry.move, registry.replace):
            before = book.taken()
            await registry.change(what)
            assert book.taken() != before
            assert dict(await connection.fetch("SELECT id, email FROM users")) == book.taken()
        await registry.change(registry.leave)
        assert len(book.taken()) == 2
    finally:
        await connection.close()


@asynccontextmanager
async def _replica(respond: Callable[[fake_http.Request], fake_http.Answer]) -> AsyncIterator[Target]:
    async with fake_http.answering(respond) as url:
        target = Target.at("replica", url)
        try:
            yield target
        finally:
            target.pool.close()
