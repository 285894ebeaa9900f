"""Many gateways do not make a replica check its readiness more often than a few do."""

import pytest
from prometheus_client import CollectorRegistry

from evenkeel.service.readiness import MOST_CHECKS, PERIOD, ConditionFailed, Readiness

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


class Unsafe(ConditionFailed):
    condition = "unsafe"


async def test_a_gauge_says_which_check_has_failed() -> None:
    database = Database()
    error: Exception | None = None

    async def settings() -> None:
        if error is not None:
            raise error

    registry = CollectorRegistry()
    readiness = Readiness({"database": database.check, "settings": settings}, registry=registry, conditions=[Unsafe])

    async def failed() -> set[str]:
        await readiness.failures()
        values = {
            name: registry.get_sample_value("readiness_check_failed", {"check": name})
            for name in ("database", "settings", "unsafe")
        }
        assert set(values.values()) <= {0.0, 1.0}
        return {name for name, value in values.items() if value}

    assert await failed() == set()
    database.broken, error = True, OSError("no verdict")
    assert await failed() == {"database", "settings"}
    database.broken, error = False, Unsafe("it would lose counts")
    assert await failed() == {"unsafe"}
    assert await readiness.failures() == {"settings": "it would lose counts"}
    error = None
    assert await failed() == set()
