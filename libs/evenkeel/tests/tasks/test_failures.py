"""Failures in log lines."""

import logging

import pytest

from evenkeel.tasks.failures import Failures, first_line

log = logging.getLogger(__name__)


def test_the_first_line_of_what_an_error_says() -> None:
    assert first_line(ValueError("no such key\nSELECT 1")) == "no such key"
    assert first_line(TimeoutError()) == "TimeoutError"


def test_a_series_of_failures_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures(log, "nothing is pruned")
    for number in range(3):
        failures.add(ValueError(f"failure {number}"))
    failures.end()
    failures.add(TimeoutError())
    lines = [(record.message, record.__dict__["error"], record.__dict__["reason"]) for record in caplog.records]
    assert lines == [
        ("nothing is pruned", "ValueError", "failure 0"),
        ("nothing is pruned", "TimeoutError", "TimeoutError"),
    ]
