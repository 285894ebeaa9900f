import asyncio
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import pytest

from evenkeel.cache import flights as flights_module
from evenkeel.cache.flights import Flights

pytestmark = pytest.mark.anyio


class Loads:
    """Loads that end when they are let go."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, keys: list[str]) -> Mapping[str, int]:
        number = len(self.begun)
        self.begun.append(keys)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return dict.fromkeys(keys, number)


async def test_those_who_ask_meanwhile_share_the_load() -> None:
    flights: Flights[int] = Flights()
    loads = Loads()
    first, mine = flights.join(["a"], loads)["a"]
    second, shared = flights.join(["a"], loads)["a"]
    assert (mine, shared) == (False, True)
    loads.go.set()
    assert await first == await second == {"a": 0}
    assert loads.begun == [["a"]]
    assert "a" not in flights
    await flights.join(["a"], loads)["a"][0]
    assert len(loads.begun) == 2


async def test_batch_joins_what_is_under_way_and_loads_the_rest_at_once() -> None:
    flights: Flights[int] = Flights()
    loads = Loads()
    flights.join(["b"], loads)
    joined = flights.join(["a", "b", "c"], loads)
    assert {key: shared for key, (_, shared) in joined.items()} == {"a": False, "b": True, "c": False}
    loads.go.set()
    assert {key: (await load)[key] for key, (load, _) in joined.items()} == {"a": 1, "b": 0, "c": 1}
    assert loads.begun == [["b"], ["a", "c"]]


@pytest.mark.parametrize("keys", [{"a"}, {"a": 7, "b": None}.keys(), None])
async def test_after_a_change_nobody_joins_what_began_before(keys: AbstractSet[str] | None) -> None:
    flights: Flights[int] = Flights()
    loads = Loads()
    before, _ = flights.join(["a"], loads)["a"]
    flights.forget(keys)
    after, shared = flights.join(["a"], loads)["a"]
    assert not shared
    loads.go.set()
    assert list(await asyncio.gather(before, after)) == [{"a": 0}, {"a": 1}]
    assert "a" not in flights


async def test_old_load_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights_module, "JOINABLE", 0.0)
    flights: Flights[int] = Flights()
    loads = Loads()
    flights.join(["a"], loads)
    assert flights.join(["a"], loads)["a"][1] is False
    loads.go.set()
    await flights.close()


async def test_caller_that_goes_away_takes_nothing_from_the_others() -> None:
    flights: Flights[int] = Flights()
    loads = Loads()

    async def ask() -> Mapping[str, int]:
        return await asyncio.shield(flights.join(["a"], loads)["a"][0])

    one, other = asyncio.create_task(ask()), asyncio.create_task(ask())
    await asyncio.sleep(0)
    one.cancel()
    loads.go.set()
    assert await other == {"a": 0}


async def test_error_reaches_all_and_is_not_remembered() -> None:
    flights: Flights[int] = Flights()
    loads = Loads()
    loads.error = OSError()
    waiting = [flights.join(["a"], loads)["a"][0] for _ in range(2)]
    loads.go.set()
    for load in waiting:
        with pytest.raises(OSError):
            await load
    loads.error = None
    assert await flights.join(["a"], loads)["a"][0] == {"a": 1}


async def test_close_gives_up_what_is_under_way() -> None:
    flights: Flights[int] = Flights()
    load, _ = flights.join(["a"], Loads())["a"]
    await flights.close()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert "a" not in flights
