"""The lines that the load writes to its log."""

import json
from typing import Any

from verify.disruptions.seen import EXAMPLES, Seen


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def line(seen: Seen) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(seen.line())
    return found


def test_sums_grow_from_line_to_line() -> None:
    seen = Seen(["read"], Hands())
    seen.requested()
    assert line(seen) == {
        "second": 0.0,
        "requests": 1,
        "failed": {},
        "repeated": 0,
        "lost": 0,
        "doubled": 0,
        "gap": 0.0,
        "examples": [],
    }
    seen.requested("read: 503")
    seen.requested("read: 503")
    seen.wrong("counter a", 0, 0)
    seen.wrong("counter a", 2, 0)
    seen.wrong("counter b", 0, 1)
    found = line(seen)
    assert (found["requests"], found["failed"], found["lost"], found["doubled"]) == (3, {"read: 503": 2}, 2, 1)
    assert found["examples"] == ["counter a: 2 lost, 0 doubled", "counter b: 0 lost, 1 doubled"]
    for _ in range(EXAMPLES):
        seen.wrong("counter c", 1, 0)
    assert len(line(seen)["examples"]) == EXAMPLES


def test_a_gap_is_between_successes_of_one_kind() -> None:
    hands = Hands()
    seen = Seen(["read", "patch"], hands)
    for _ in range(3):
        hands.now += 1
        seen.succeeded("read")
    assert line(seen)["gap"] == 3, "nothing was patched"
    seen.succeeded("patch")
    assert line(seen)["gap"] == 3, "it ended after the last line"
    hands.now += 0.5
    assert line(seen)["gap"] == 0.5
