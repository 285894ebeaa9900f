"""Tests that share a fixture run on one worker of pytest-xdist. Otherwise each worker would start its own stack."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.distribution import COLLECTED, SLOW_AT_MOST, spread


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent  # the one of all workers
    (folder / "made once").touch(exist_ok=False)


@pytest.mark.usefixtures("made_once")
@pytest.mark.parametrize("number", range(6))
def test_one_worker_has_them_all(number: int) -> None:
    """It fails at its start if another worker has made the fixture."""
    assert number < 6


class FakeTest:
    def __init__(self, name: str) -> None:
        self.name, self.path = name, Path(name[0])

    def get_closest_marker(self, _: str) -> pytest.Mark | None:
        return pytest.mark.xdist_group("group").mark if self.name[0] == "g" else None


def test_files_are_spread_evenly() -> None:
    tests: list[Any] = [FakeTest(name) for name in ("a1", "b1", "b2", "c1", "c2", "c3", "c4", "g1", "g2")]
    spread(tests)
    assert [test.name for test in tests] == ["g1", "g2", "c1", "b1", "c2", "a1", "c3", "b2", "c4"]


def test_make_test_leaves_few_tests_out(pytestconfig: pytest.Config) -> None:
    """A part of the tests may have more slow ones."""
    collected = pytestconfig.stash[COLLECTED]
    folders = {pytestconfig.rootpath / folder for folder in pytestconfig.getini("testpaths")}
    whole = folders <= {pytestconfig.invocation_params.dir / argument for argument in pytestconfig.args}
    assert not whole or collected.slow <= SLOW_AT_MOST * collected.every
