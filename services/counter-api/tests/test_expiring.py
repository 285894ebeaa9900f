"""Entries with times to live, compared with a simple model."""

import random
import tracemalloc

from counter_api.expiring import ExpiringDict


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_expiring_dict() -> None:
    clock = Clock()
    entries: ExpiringDict[str, int] = ExpiringDict(clock)
    entries.put("a", 1, ttl=10)
    entries.put("b", 2, ttl=None)
    clock.now = 9.9
    entries.put("a", 3, ttl=10)
    assert (entries.get("a"), entries.get("b"), sorted(entries)) == (3, 2, ["a", "b"])
    clock.now = 10.0
    assert (entries.get("a"), entries.get("b"), sorted(entries)) == (None, 2, ["b"])
    entries.put("b", 4, ttl=1)
    clock.now = 1e9
    assert entries.get("b") == 4
    entries.put("c", 5, ttl=5)
    entries.pop("c")
    entries.put("c", 6, ttl=None)
    clock.now += 5
    assert entries.get("c") == 6


class Watched(ExpiringDict[str, int]):
    """Keeps the keys that `_added` and `_removed` get."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.keys = set[str]()

    def _added(self, key: str) -> None:
        assert key not in self.keys
        self.keys.add(key)

    def _removed(self, key: str) -> None:
        self.keys.remove(key)


def test_it_does_what_a_model_does() -> None:
    choose, clock = random.Random(1), Clock()
    entries = Watched(clock)
    model: dict[str, tuple[int, float | None]] = {}
    for step in range(20_000):
        clock.now += choose.choice([0, 0, 0.5, 1])
        model = {key: (value, end) for key, (value, end) in model.items() if end is None or clock.now < end}
        key, ttl = choose.choice("abcdefgh"), choose.choice([None, 1, 2, 5])
        match choose.randrange(4):
            case 0:
                entries.put(key, step, ttl=ttl)
                end = model[key][1] if key in model else None if ttl is None else clock.now + ttl
                model[key] = (step, end)
            case 1:
                entries.replace(key, step, ttl=ttl)
                model[key] = (step, None if ttl is None else clock.now + ttl)
            case 2:
                entries.pop(key)
                model.pop(key, None)
        value, end = model.get(key, (None, None))
        assert (entries.get(key), entries.ttl(key)) == (value, None if end is None else end - clock.now)
        assert sorted(entries) == sorted(model) == sorted(entries.keys)


def test_memory_does_not_grow_with_pop_and_put() -> None:
    clock = Clock()
    entries: ExpiringDict[int, int] = ExpiringDict(clock)

    def work(times: int) -> None:
        for number in range(times):
            entries.put(number % 10, number, ttl=3600)
            entries.replace(number % 10, number, ttl=3600)
            entries.pop(number % 10)

    tracemalloc.start()
    try:
        work(1000)
        before, _ = tracemalloc.get_traced_memory()
        work(10_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_000, "bytes kept after 10,000 times"
