import asyncio
import gc
import time
from collections.abc import AsyncIterator

import pytest

from evenkeel.cache import Busy, DatabaseBreaker, Disconnected, NotAnswering, database_breaker

pytestmark = pytest.mark.anyio


class Database:
    """Answers when it is `up`; `slow` work takes until it is released."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.released = asyncio.Event()
        self.begun = 0
        self.cleaned_up = 0
        self.probes = 0

    async def probe(self) -> None:
        self.probes += 1
        await self.up.wait()

    async def read(self) -> str:
        self.begun += 1
        try:
            await self.up.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)  # as drivers do
            self.cleaned_up += 1
            raise
        return "row"

    async def slow(self) -> str:
        await self.released.wait()
        return "row"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLOW", "SILENT", "PATIENCE", "GRACE", "PAUSE", "PROBE_INTERVAL"):
        monkeypatch.setattr(database_breaker, name, getattr(database_breaker, name) / 10)


@pytest.fixture
async def database() -> Database:
    return Database()


@pytest.fixture
async def breaker(database: Database) -> AsyncIterator[DatabaseBreaker]:
    breaker = DatabaseBreaker(database.probe)
    yield breaker
    database.up.set()
    await breaker.close()


async def until(breaker: DatabaseBreaker, *, is_open: bool) -> None:
    for _ in range(1000):
        if breaker.is_open is is_open:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(is_open)


async def test_slow_work_goes_on_while_the_probe_is_answered(database: Database, breaker: DatabaseBreaker) -> None:
    slow = asyncio.create_task(breaker.run(database.slow, repeatable=True))
    await asyncio.sleep(2 * database_breaker.PATIENCE)
    assert database.probes > 1
    assert not breaker.is_open
    database.released.set()
    assert await slow == "row"


async def test_work_is_given_up_and_nobody_waits_for_its_cleaning_up(
    database: Database, breaker: DatabaseBreaker
) -> None:
    database.up.clear()
    with pytest.raises(NotAnswering) as failure:
        await breaker.run(database.read, repeatable=True)
    assert failure.value.begun
    assert breaker.is_open
    assert (database.begun, database.cleaned_up) == (1, 0)
    with pytest.raises(NotAnswering) as failure:
        await breaker.run(database.read, repeatable=True)
    assert not failure.value.begun
    assert database.begun == 1  # nothing is sent to a server that does not answer
    await breaker.close()
    assert database.cleaned_up == 1


async def test_who_waits_is_served_when_it_comes_back(database: Database, breaker: DatabaseBreaker) -> None:
    database.up.clear()
    waiting = [asyncio.create_task(breaker.run(database.read, repeatable=False)) for _ in range(5)]
    await until(breaker, is_open=True)
    waiting += [asyncio.create_task(breaker.run(database.read, repeatable=False)) for _ in range(5)]
    await asyncio.sleep(0.01)
    database.up.set()
    assert await asyncio.gather(*waiting) == ["row"] * 10
    await until(breaker, is_open=False)


async def test_lost_connections(database: Database, breaker: DatabaseBreaker) -> None:
    """Reads are done again, and so is what had not begun; a change that had is not."""
    tried = 0

    async def lose(*, begun: bool) -> str:
        nonlocal tried
        tried += 1
        if tried % 2:
            raise Disconnected("lost", begun=begun)
        return await database.read()

    assert await breaker.run(lambda: lose(begun=True), repeatable=True) == "row"
    assert await breaker.run(lambda: lose(begun=False), repeatable=False) == "row"
    with pytest.raises(Disconnected):
        await breaker.run(lambda: lose(begun=True), repeatable=False)
    assert tried == 5


async def test_refused_connections_open_it_at_once() -> None:
    refusing = True

    async def probe() -> None:
        if refusing:
            raise ConnectionRefusedError

    async def connect() -> str:
        if refusing:
            raise Disconnected("refused", begun=False)
        return "row"

    breaker = DatabaseBreaker(probe)
    waiting = asyncio.create_task(breaker.run(connect, repeatable=False))
    await until(breaker, is_open=True)
    refusing = False
    assert await waiting == "row"
    await breaker.close()


async def test_no_room_because_nothing_is_answered_is_no_answer(database: Database, breaker: DatabaseBreaker) -> None:
    async def no_room() -> None:
        await asyncio.sleep(database_breaker.PATIENCE - 0.01)
        raise Busy("full")

    with pytest.raises(Busy):
        await breaker.run(no_room, repeatable=False)
    database.up.clear()
    with pytest.raises(NotAnswering):
        await breaker.run(no_room, repeatable=False)


async def test_caller_that_goes_away_takes_its_work_along(database: Database, breaker: DatabaseBreaker) -> None:
    database.up.clear()
    caller = asyncio.create_task(breaker.run(database.read, repeatable=True))
    await asyncio.sleep(0.01)
    caller.cancel()
    await asyncio.wait({caller})
    assert caller.cancelled()
    await breaker.close()
    assert database.cleaned_up == 1


async def test_without_a_probe_it_never_opens(database: Database) -> None:
    breaker = DatabaseBreaker()
    slow = asyncio.create_task(breaker.run(database.slow, repeatable=True))
    await asyncio.sleep(2 * database_breaker.PATIENCE)
    database.released.set()
    assert await slow == "row"
    assert not breaker.is_open


async def test_database_that_answers_others_is_not_silent(database: Database, breaker: DatabaseBreaker) -> None:
    """A probe may hang where its connection does."""
    database.up.clear()

    async def answered() -> str:
        return "row"

    slow = asyncio.create_task(breaker.run(database.slow, repeatable=True))
    for _ in range(100):
        assert await breaker.run(answered, repeatable=True) == "row"
        assert not breaker.is_open
        await asyncio.sleep(0.005)
    assert database.probes > 0
    database.released.set()
    assert await slow == "row"


async def test_answer_closes_it_before_a_probe_does(database: Database, breaker: DatabaseBreaker) -> None:
    database.up.clear()
    slow = asyncio.create_task(breaker.run(database.slow, repeatable=True))
    await until(breaker, is_open=True)
    database.released.set()
    assert await slow == "row"
    assert not breaker.is_open


async def test_stopped_process_finds_no_fault_with_the_database(database: Database, breaker: DatabaseBreaker) -> None:
    """Its own pause is nobody's silence."""
    slow = asyncio.create_task(breaker.run(database.slow, repeatable=True))
    await asyncio.sleep(0.01)
    time.sleep(2 * database_breaker.SLOW)  # noqa: ASYNC251 (nothing in this process runs)
    for _ in range(3):
        time.sleep(2 * database_breaker.SILENT)  # noqa: ASYNC251
        await asyncio.sleep(0)
        assert not breaker.is_open
    database.released.set()
    assert await slow == "row"


async def test_probe_that_fails_beside_an_answered_one_makes_no_noise() -> None:
    """Otherwise asyncio logs that an exception was never retrieved."""
    noise: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context["message"]))
    for _ in range(6):  # which of the two is looked at first is a matter of chance
        turn, begun = asyncio.Event(), 0

        async def probe(turn: asyncio.Event = turn) -> None:
            nonlocal begun
            begun += 1
            fails = begun == 1
            await turn.wait()
            if fails:
                raise OSError("refused")

        breaker = DatabaseBreaker(probe)
        breaker.suspect()
        while begun < database_breaker.MOST_PROBES:  # noqa: ASYNC110 (the second one begins by itself)
            await asyncio.sleep(0.01)
        turn.set()
        await asyncio.sleep(0.05)
        await breaker.close()
    gc.collect()
    assert noise == []
