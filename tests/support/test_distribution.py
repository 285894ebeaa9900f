"""Tests that share a fixture run on one worker of pytest-xdist. Otherwise each worker would start its own stack."""

import pytest
from tests.support.distribution import COLLECTED, SLOW_AT_MOST


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


def test_make_test_leaves_few_tests_out(pytestconfig: pytest.Config) -> None:
    """A part of the tests may have more slow ones."""
    collected = pytestconfig.stash[COLLECTED]
    folders = {pytestconfig.rootpath / folder for folder in pytestconfig.getini("testpaths")}
    whole = folders <= {pytestconfig.invocation_params.dir / argument for argument in pytestconfig.args}
    assert not whole or collected.slow <= SLOW_AT_MOST * collected.every
