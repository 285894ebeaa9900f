"""Many gateways do not make a replica check its readiness more often than a few do."""

import pytest

from evenkeel.service.readiness import MOST_CHECKS, PERIOD, Readiness

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("evenkeel.service.readiness.monotonic", lambda: self.now)


class Database:
    def __init__(self) -> None:
        self.checks = 0
        self.broken = False

    async def check(self) -> None:
        self.checks += 1
        if self.broken:
            raise OSError("broken")


async def test_many_gateways_cause_no_more_checks_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, database = Clock(monkeypatch), Database()
    readiness = Readiness({"database": database.check})
    for _ in range(50):
        assert await readiness.failures() == {}
        clock.now += PERIOD / 100
    assert database.checks == MOST_CHECKS
    database.broken = True
    clock.now += PERIOD
    assert await readiness.failures() == {"database": "broken"}


async def test_a_bad_result_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, database = Clock(monkeypatch), Database()
    readiness = Readiness({"database": database.check})
    database.broken = True
    for _ in range(2 * MOST_CHECKS):
        assert await readiness.failures() == {"database": "broken"}
        clock.now += PERIOD / 100
    database.broken = False
    assert await readiness.failures() == {}
    assert database.checks == 2 * MOST_CHECKS + 1
