"""What a run of the benchmarks prints about its goals."""

import pytest
from benchmarks.goals import Goal, report


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal("", 1.85, least=2), True),  # within the noise
        (Goal("", 1.83, least=2), False),
        (Goal("", 0.75, most=0.7), True),
        (Goal("", 0.76, most=0.7), False),
        (Goal("", 1.03, most=1.02, noise=0), False),
    ],
)
def test_a_goal_may_be_missed_by_the_noise(goal: Goal, met: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    assert goal.met == met


def test_goals_are_a_table_for_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    report([Goal("memory hit / floor", 0.9, least=0.87), Goal("waits", 3, most=1)])
    assert capsys.readouterr().out == (
        "| goal               |        | figure |    met |\n"
        "| ------------------ | -----: | -----: | -----: |\n"
        "| memory hit / floor | ≥ 0.87 |   0.90 |    yes |\n"
        "| waits              | ≤ 1.00 |   3.00 | **no** |\n"
        "\n"
    )
