import asyncio
import math
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet

import pytest

from evenkeel.cache import flights as flights_module
from evenkeel.cache.flights import Flights, Terms

pytestmark = pytest.mark.anyio

TERMS = Terms(deadline=math.inf)


class Loads:
    """Loads that end when they are let go."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.terms: list[Terms] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.early: set[str] = set()
        """Keys that are found at once."""

    async def __call__(self, keys: list[str], terms: Terms) -> AsyncIterator[dict[str, int]]:
        number = len(self.begun)
        self.begun.append(keys)
        self.terms.append(terms)
        if early := [key for key in keys if key in self.early]:
            yield dict.fromkeys(early, number)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        yield dict.fromkeys((key for key in keys if key not in early), number)


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def flights(loads: Loads) -> Flights[int]:
    return Flights(loads)


async def begun(flights: Flights[int], *keys: str) -> list["asyncio.Future[int]"]:
    """The loads of these keys, which are under way."""
    joined = [flights.join(key, TERMS)[0] for key in keys]
    await asyncio.sleep(0)
    return joined


async def test_those_who_ask_meanwhile_share_the_load(flights: Flights[int], loads: Loads) -> None:
    [first] = await begun(flights, "a")
    second, shared = flights.join("a", TERMS)
    assert shared
    loads.go.set()
    assert await first == await second == 0
    assert loads.begun == [["a"]]
    assert "a" not in flights
    again, shared = flights.join("a", TERMS)
    assert not shared
    assert await again == 1


async def test_keys_of_one_turn_of_the_event_loop_are_one_load(flights: Flights[int], loads: Loads) -> None:
    loads.go.set()

    async def read(key: str, terms: Terms) -> int:
        return await flights.join(key, terms)[0]

    strict = [Terms(3.0, unreadable={"a"}), Terms(2.0), Terms(4.0, unreadable={"c"})]
    found = await asyncio.gather(*(read(key, terms) for key, terms in zip("abc", strict, strict=True)))
    assert (found, loads.begun) == ([0, 0, 0], [["a", "b", "c"]])
    assert loads.terms == [Terms(2.0, unreadable={"a", "c"})]
    assert await read("d", TERMS) == 1


async def test_what_redis_may_not_answer_is_another_load(flights: Flights[int], loads: Loads) -> None:
    loads.go.set()
    both = flights.join("a", TERMS)[0], flights.join("b", Terms(math.inf, past_redis=True))[0]
    await asyncio.gather(*both)
    assert loads.begun == [["a"], ["b"]]


async def test_a_load_is_bounded(flights: Flights[int], loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights_module, "LARGEST", 2)
    loads.go.set()
    assert await asyncio.gather(*(flights.join(key, TERMS)[0] for key in "abcde")) == [0, 0, 1, 1, 2]
    assert loads.begun == [["a", "b"], ["c", "d"], ["e"]]


async def test_no_key_waits_for_another_one(flights: Flights[int], loads: Loads) -> None:
    loads.early = {"b"}
    a, b = (flights.join(key, TERMS)[0] for key in "ab")
    assert await b == 0
    assert not a.done()
    assert ("a" in flights, "b" in flights) == (True, False)
    loads.go.set()
    assert await a == 0


async def test_batch_joins_what_is_under_way_and_loads_the_rest_at_once(flights: Flights[int], loads: Loads) -> None:
    await begun(flights, "b")
    joined = {key: flights.join(key, TERMS) for key in ("a", "b", "c")}
    assert {key: shared for key, (_, shared) in joined.items()} == {"a": False, "b": True, "c": False}
    loads.go.set()
    assert {key: await load for key, (load, _) in joined.items()} == {"a": 1, "b": 0, "c": 1}
    assert loads.begun == [["b"], ["a", "c"]]


@pytest.mark.parametrize("keys", [{"a"}, {"a": 7, "b": None}.keys(), None])
async def test_after_a_change_nobody_joins_what_began_before(
    flights: Flights[int], loads: Loads, keys: AbstractSet[str] | None
) -> None:
    [before] = await begun(flights, "a")
    flights.forget(keys)
    after, shared = flights.join("a", TERMS)
    assert not shared
    loads.go.set()
    assert list(await asyncio.gather(before, after)) == [0, 1]
    assert "a" not in flights


async def test_a_change_before_the_load_begins_loses_no_reader(flights: Flights[int], loads: Loads) -> None:
    before, _ = flights.join("a", TERMS)
    flights.forget({"a"})
    after, _ = flights.join("a", TERMS)
    loads.go.set()
    assert list(await asyncio.gather(before, after)) == [0, 0]


async def test_old_load_is_not_joined(flights: Flights[int], loads: Loads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights_module, "JOINABLE", 0.0)
    await begun(flights, "a")
    assert flights.join("a", TERMS)[1] is False
    loads.go.set()
    await flights.close()


async def test_caller_that_goes_away_takes_nothing_from_the_others(flights: Flights[int], loads: Loads) -> None:
    async def ask() -> int:
        return await flights.join("a", TERMS)[0]

    one, other = asyncio.create_task(ask()), asyncio.create_task(ask())
    await asyncio.sleep(0)
    one.cancel()
    loads.go.set()
    assert await other == 0


async def test_error_reaches_all_and_is_not_remembered(flights: Flights[int], loads: Loads) -> None:
    loads.error = OSError()
    waiting = [flights.join(key, TERMS)[0] for key in "aab"]
    loads.go.set()
    for load in waiting:
        with pytest.raises(OSError):
            await load
    loads.error = None
    assert await flights.join("a", TERMS)[0] == 1


async def test_a_key_that_a_load_does_not_bring_has_an_end() -> None:
    async def nothing(_: list[str], __: Terms) -> AsyncIterator[dict[str, int]]:
        yield {}

    with pytest.raises(LookupError):
        await Flights(nothing).join("a", TERMS)[0]


@pytest.mark.parametrize("turns", [0, 1], ids=["before it begins", "under way"])
async def test_close_gives_up_what_is_under_way(flights: Flights[int], turns: int) -> None:
    load, _ = flights.join("a", TERMS)
    for _ in range(turns):
        await asyncio.sleep(0)
    await flights.close()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert "a" not in flights
