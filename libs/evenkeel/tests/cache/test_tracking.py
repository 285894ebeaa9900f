"""What memory makes of pushes, and of the answers to its question when an epoch begins that is not pushed."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Set as AbstractSet
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from evenkeel.cache.entry import Entry
from evenkeel.cache.keys import CurrentNames, Names, new_epoch
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics, Metrics
from evenkeel.cache.pulse import Pulse
from evenkeel.cache.tracking import Tracking

pytestmark = pytest.mark.anyio

KEYS = ["9", "10", "20", "21"]


class Connection:
    """To a Redis in which an epoch begins, trusted for long, when the first command of a question has been answered."""

    def __init__(self, names: Names, begun: str) -> None:
        self._epoch, self._lifetime = names.epoch, 100
        self._begun = begun
        self._answers: asyncio.Queue[bytes | int] = asyncio.Queue()
        self.answered = asyncio.Event()

    async def send(self, commands: list[tuple[Any, ...]]) -> None:
        for name, *_ in commands:
            self._answers.put_nowait(self._lifetime if name == "PTTL" else self._epoch.encode())
            self._epoch, self._lifetime = self._begun, 1500

    async def receive(self) -> bytes | int:
        if self._answers.empty():
            self.answered.set()
        return await self._answers.get()


@pytest.fixture
def metrics() -> CacheMetrics:
    return CacheMetrics(Metrics(CollectorRegistry()), "user")


@pytest.mark.parametrize("primary", [True, False])
async def test_an_epoch_begins_while_it_is_asked_for(
    metrics: CacheMetrics, *, primary: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old epoch is not taken for one that is trusted as long as the new one is."""
    monkeypatch.setattr("evenkeel.cache.tracking.PING_INTERVAL", 60)
    current = CurrentNames("user")
    current.identified("00000000000000aa")
    current.adopt(new_epoch().encode(), await current.known())
    names = await current.known()
    memory: MemoryTier[Entry] = MemoryTier(max_entries=10, ttl=60, prepare=lambda entry: entry, metrics=metrics)
    current.on_change.append(lambda before, now: memory.drop_where(cast("Names", now).renames(cast("Names", before))))
    memory.trust(1e9)
    with memory.reserve(KEYS) as reservations:
        for key in KEYS:
            memory.put(key, Entry(1, b"{}"), 60, reservations[key])
    begun = names.epoch_without([(10, 20)])
    connection: Any = Connection(names, begun)
    pulse = Pulse() if primary else None
    tracking = Tracking(Redis(), current, memory, metrics, lambda _: None, pulse=pulse)
    questions: deque[float] = deque()
    tasks = [
        asyncio.create_task(tracking._ask(connection, names, questions)),
        asyncio.create_task(tracking._read(connection, names, questions)),
    ]
    await connection.answered.wait()
    while questions:  # noqa: ASYNC110 (there is no event)
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    if pulse is not None:
        assert pulse.left(names.alive) > 0
        assert (await current.known()).epoch == begun
        assert [key for key in KEYS if memory.peek(key)] == ["9", "21"]
    else:
        assert not memory.trusted


@pytest.mark.parametrize("what", ["emptied", "everything", "unreadable"])
async def test_a_push_that_names_no_keys_empties_memory(metrics: CacheMetrics, what: str) -> None:
    current = CurrentNames("user")
    current.identified("00000000000000aa")
    names = await current.known()
    memory: MemoryTier[Entry] = MemoryTier(max_entries=10, ttl=60, prepare=lambda entry: entry, metrics=metrics)
    memory.trust(1e9)
    with memory.reserve(KEYS) as reservations:
        for key in KEYS:
            memory.put(key, Entry(1, b"{}"), 60, reservations[key])
    changed: list[AbstractSet[str] | None] = []
    tracking = Tracking(Redis(), current, memory, metrics, changed.append, pulse=Pulse())
    tracking._pushed(names, names.signals_of({"9": 2, "10": 1}))
    assert [key for key in KEYS if memory.peek(key)] == KEYS[1:]
    pushed = {"emptied": None, "everything": [names.everything], "unreadable": [names.signals + b"9:7"]}[what]
    tracking._pushed(names, pushed)
    assert [key for key in KEYS if memory.peek(key)] == []
    assert changed == [{"9", "10"}, None]


async def test_many_keys_are_counted_once(metrics: CacheMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr(metrics, "pushed", counted.append)
    current = CurrentNames("user")
    current.identified("00000000000000aa")
    names = await current.known()
    memory: MemoryTier[Entry] = MemoryTier(max_entries=10, ttl=60, prepare=lambda entry: entry, metrics=metrics)
    tracking = Tracking(Redis(), current, memory, metrics, lambda _: None, pulse=Pulse())
    tracking._pushed(names, names.signals_of({str(key): 2 for key in range(500)}))
    assert counted == [500]
