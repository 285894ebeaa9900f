"""The common part of all verifiers' phases."""

from typing import Any

from stack.errors import StackError
from verify.tally import EXAMPLES, Tally


class Coins(Tally):
    BREACHES = {"false": "coins are false"}  # noqa: RUF012 (as a dataclass has it)
    found = 1

    def answered(self) -> dict[str, int]:
        return {"coins": self.found}

    def counts(self) -> dict[str, Any]:
        return {"coins": self.found}


def _inject() -> None:
    raise StackError("redis-cache is no process of this stack")


def test_breaches_are_counted_and_the_first_are_described() -> None:
    tally = Coins("none")
    for number in range(EXAMPLES + 1):
        tally.breach("false", f"coin {number}", count=2)
    assert tally.problems() == [f"{2 * (EXAMPLES + 1)} coins are false"]
    assert tally.examples == [f"false: coin {number}" for number in range(EXAMPLES)]


def test_a_fault_that_cannot_be_injected_is_a_failure_and_the_run_goes_on() -> None:
    tally = Coins("kill-redis")
    with tally.injecting():
        _inject()
    failure = "the fault could not be injected: redis-cache is no process of this stack"
    assert tally.as_dict() == {
        "phase": "kill-redis",
        "coins": 1,
        "breaches": {},
        "examples": [],
        "problems": [failure],
    }


def test_a_phase_without_answers_has_not_passed() -> None:
    tally = Coins("none")
    tally.found = 0
    assert tally.problems() == ["0 coins got an answer: that proves nothing"]
