import pytest

from stack import console
from verify import progress


def test_a_line_for_each_phase(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown("verify cache") as announce:
        announce("none", 0, 2)
        announce("kill-redis", 1, 2)
    assert capsys.readouterr() == ("", "verify cache: none …\nverify cache: kill-redis …\n")


def test_a_terminal_shows_how_many_phases_are_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "is_terminal", lambda _: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.shown("verify cache") as announce:
        announce("kill-redis", 1, 2)
    output, shown = capsys.readouterr()
    assert output == ""
    assert "verify cache: kill-redis" in shown
    assert "1/2" in shown
