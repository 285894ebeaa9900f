"""The form of log lines."""

import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from tests.support import log_lines
from tests.support.log_lines import LogLines

from evenkeel.service import logs

log = logging.getLogger("orders")


@pytest.fixture
def written() -> Iterator[LogLines]:
    with log_lines.written() as lines:
        yield lines


def test_a_line_has_these_members(written: LogLines) -> None:
    log.warning("%d orders are late", 3, extra={"reason": "snow", "error": OSError("no road")})
    [line] = written.all
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert list(line.items()) == [
        ("level", "warning"),
        ("logger", "orders"),
        ("replica", "r-1"),
        ("message", "3 orders are late"),
        ("reason", "snow"),
        ("error", "no road"),
    ]


def test_time_is_in_utc_with_milliseconds() -> None:
    record = logging.makeLogRecord({"created": 1700000000.0, "msecs": 7.9, "levelname": "INFO", "name": "x"})
    assert json.loads(logs.JsonFormatter("r-1").format(record))["time"] == "2023-11-14T22:13:20.007Z"


def test_a_traceback_is_a_member(written: LogLines) -> None:
    try:
        json.loads("no road")
    except ValueError:
        log.exception("an order failed")
    [line] = written.all
    assert (line["level"], line["message"]) == ("error", "an order failed")
    assert line["traceback"].startswith("Traceback (most recent call last):\n")
    assert "\njson.decoder.JSONDecodeError: Expecting value" in line["traceback"]
    assert "exc_info" not in line


def test_the_servers_coloured_message_is_left_out(written: LogLines) -> None:
    log.info("started", extra={"color_message": "\x1b[1mstarted"})
    assert written.all[0].keys() == {"time", "level", "logger", "replica", "message"}


def test_every_logger_writes_so_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    try:
        logs.configure("warning", "r-2")
        log.info("not this")
        log.warning("this")
    finally:
        logging.basicConfig(level=level, handlers=handlers, force=True)
    [line] = capsys.readouterr().err.splitlines()
    assert (json.loads(line)["message"], json.loads(line)["replica"]) == ("this", "r-2")
