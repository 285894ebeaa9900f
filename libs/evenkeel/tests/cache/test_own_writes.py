"""The keys that this process wrote in the last seconds."""

from evenkeel.cache.own_writes import OWN_WRITES, OwnWrites


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_writes_are_known_for_a_while() -> None:
    clock = Clock()
    writes = OwnWrites(timer=clock)
    assert writes.among(["1", "2"]) == {}
    writes.note("1", confirmed=True)
    writes.note("2", confirmed=False)
    assert writes.among(["1", "2", "3"]) == {"1": True, "2": False}
    clock.now = OWN_WRITES / 2
    writes.note("2", confirmed=True)
    clock.now = OWN_WRITES
    assert writes.among(["1", "2"]) == {"2": True}
    clock.now = OWN_WRITES * 2
    assert writes.among(["1", "2"]) == {}


def test_old_ones_are_forgotten_with_the_next() -> None:
    clock = Clock()
    writes = OwnWrites(timer=clock)
    for key in range(100):
        writes.note(str(key), confirmed=True)
    clock.now = OWN_WRITES
    writes.note("new", confirmed=True)
    assert len(writes._written) == 1
