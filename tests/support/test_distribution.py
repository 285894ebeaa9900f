"""Tests that share a fixture run on one worker of pytest-xdist. Otherwise each worker would start its own stack."""

import pytest


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
