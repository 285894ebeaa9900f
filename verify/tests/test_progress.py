import time

import pytest

from stack import console
from verify import progress
from verify.progress import Extent


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "is_terminal", lambda _: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


def test_a_line_for_each_phase(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown("verify cache") as announce:
        announce("none", 0, 2, progress.seconds(5))
        announce("kill-redis", 1, 2)
    assert capsys.readouterr() == ("", "verify cache: none …\nverify cache: kill-redis …\n")


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_how_many_phases_are_over(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown("verify cache") as announce:
        announce("kill-redis", 1, 2)
    output, shown = capsys.readouterr()
    assert output == ""
    assert "verify cache: kill-redis" in shown
    assert "1/2" in shown


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_how_far_a_phase_is(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown("verify counters") as announce:
        announce("none", 0, 2, Extent(lambda: 2500, 5000, "operations"))
    assert "0/2 2,500/5,000 operations" in capsys.readouterr().err


def test_a_phase_that_lasts_longer_than_it_must_has_no_end_in_sight() -> None:
    extent = Extent(lambda: 7.2, 5, "s")
    assert (str(extent), extent.share) == ("7 s", 1.0)


def test_seconds_go_by(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 103.0, 104.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    extent = progress.seconds(12)
    assert (str(extent), extent.share) == ("3/12 s", 1 / 3)
