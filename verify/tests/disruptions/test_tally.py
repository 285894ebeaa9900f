"""A disruption's row is the difference between two lines of the load's log."""

from typing import Any

from verify.disruptions.report import REPORT
from verify.disruptions.tally import DisruptionTally


def line(second: float, **counts: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"requests": 0, "failed": {}, "repeated": 0, "lost": 0, "doubled": 0, "gap": 0.1}
    return {"second": second, **nothing, "examples": [], **counts}


LINES = [
    line(1.0, requests=100, gap=9.0),
    line(2.0, requests=200, failed={"read: 503": 1}, lost=1, examples=["before"]),
    line(3.0, requests=290, failed={"read: 503": 3, "patch: 503": 1}, lost=1, gap=0.7, examples=["before"]),
    line(4.0, requests=390, failed={"read: 503": 3, "patch: 503": 1}, repeated=2, lost=1, examples=["before"]),
]


def test_what_came_before_is_left_out() -> None:
    tally = DisruptionTally("rollout-user-api")
    tally.between(LINES, 2.0)
    assert (tally.seconds, tally.requests, tally.failed, tally.repeated, tally.gap) == (2.0, 190, 3, 2, 0.7)
    assert tally.errors == {"read: 503": 2, "patch: 503": 1}
    assert (tally.breaches, tally.examples, tally.problems()) == ({}, [], [])
    assert REPORT.row(tally) == ("rollout-user-api", "2", "190", "3", "0", "0", "0.70")


def test_lost_and_doubled_writes_are_problems() -> None:
    tally = DisruptionTally("kill-postgres")
    tally.between([*LINES, line(5.0, requests=490, lost=3, doubled=1, examples=["before", "counter a"])], 4.0)
    assert (tally.breaches, tally.examples) == ({"lost": 2, "doubled": 1}, ["counter a"])
    assert tally.problems() == [
        "2 acknowledged writes are not in the values",
        "1 writes are in the values that no client made",
    ]


def test_a_load_that_sends_nothing_proves_nothing() -> None:
    tally = DisruptionTally("none")
    tally.between(LINES, 4.0)
    assert tally.problems() == ["0 requests got an answer: that proves nothing"]
