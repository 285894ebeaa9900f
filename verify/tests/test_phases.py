"""Which phases are possible, and which can be chosen."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.errors import UsageError
from verify.deployment import Elsewhere, Local
from verify.phases import Phases, Plan


@dataclass(frozen=True)
class Disruption:
    service: str | None


PHASES = Phases(
    anywhere=["none", "disconnects"],
    disruptions={"none": Disruption(None), "sql": Disruption(None), "kill-redis": Disruption("redis-cache")},
)


@pytest.fixture
def local(tmp_path: Path) -> Local:
    """A stack that has started no process."""
    return Local(tmp_path / "control.sock", "user-api")


def test_without_names_all_that_are_possible_are_played_once(local: Local) -> None:
    assert PHASES.of(Plan(None), local) == ["none", "disconnects", "sql"]
    assert PHASES.of(Plan(None), Elsewhere(["http://127.0.0.1:1"])) == ["none", "disconnects"]


def test_names_are_played_in_their_order(local: Local) -> None:
    names = PHASES.read("kill-redis,none,kill-redis", elsewhere=False)
    assert PHASES.of(Plan(names), local) == ["kill-redis", "none", "kill-redis"]
    assert PHASES.read(None, elsewhere=False) is None


@pytest.mark.parametrize(
    ("text", "elsewhere", "choices"),
    [
        (
            "none,flood",
            False,
            "'flood' is not possible in the local stack; choose from none, disconnects, sql, kill-redis",
        ),
        ("", False, "'' is not possible in the local stack; choose from none, disconnects, sql, kill-redis"),
        ("kill-redis", True, "'kill-redis' is not possible with --target; choose from none, disconnects"),
    ],
)
def test_other_names_are_refused_with_those_to_choose_from(text: str, *, elsewhere: bool, choices: str) -> None:
    with pytest.raises(UsageError) as refused:
        PHASES.read(text, elsewhere=elsewhere)
    assert str(refused.value) == f"--faults: {choices}"
