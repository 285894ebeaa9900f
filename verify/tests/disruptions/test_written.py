"""What answers show of a value that one client alone writes."""

import pytest

from verify.disruptions.written import Written

Answers = list[int | None]
"""Values in the order of the writes; None for a write without an answer."""


def judge(answers: Answers) -> tuple[int, int]:
    """How many writes were lost, and doubled."""
    written = Written(0)
    lost = doubled = 0
    for value in answers:
        if value is None:
            written.failed()
        else:
            found = written.answered(value)
            lost, doubled = lost + found[0], doubled + found[1]
    return lost, doubled


@pytest.mark.parametrize(
    ("answers", "lost", "doubled"),
    [
        ([1, 2, 3], 0, 0),
        ([1, 1, 2, 3], 1, 0),
        ([1, 2, 3, 1, 2], 3, 0),
        ([1, 3, 4], 0, 1),
        ([1, None, 2, 3], 0, 0),  # not done
        ([1, None, 3, 4], 0, 0),  # done
        ([1, None, 2, 4, 5], 0, 0),  # done later
        ([1, None, 4, 5], 0, 1),
        ([None, None, 3, 3], 1, 0),  # an answer has shown both
        ([1, None, 2, 4, 6], 0, 1),
    ],
)
def test_answers_are_judged(answers: Answers, lost: int, doubled: int) -> None:
    assert judge(answers) == (lost, doubled)
