from itertools import islice
from pathlib import Path

from stack import logs


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("one\ntwo\nthree\n")
    assert logs.tail(log, 2) == ["two", "three"]


def test_tail_gives_what_was_written_since(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("before\nafter\n")
    assert logs.tail(log, 10, since=len("before\n")) == ["after"]


def test_tail_of_a_log_that_was_trimmed_meanwhile(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("")
    assert logs.tail(log, 10, since=1000) == []


def test_tail_without_a_log(tmp_path: Path) -> None:
    assert logs.tail(tmp_path / "none.log", 10) == []


def test_follow_gives_whole_lines_and_survives_trimming(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old and long enough\n")
    lines = logs.follow([log], interval=0)
    with log.open("a") as writer:
        writer.write("new\nha")
        writer.flush()
        assert next(lines) == (log, "new")
        writer.write("lf\n")
        writer.flush()
        assert next(lines) == (log, "half")
        logs.trim(tmp_path, max_bytes=1)
        writer.write("after\n")
    assert list(islice(lines, 1)) == [(log, "after")]


def test_large_logs_are_set_aside_and_small_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "large.log").write_text("x" * 100)
    (tmp_path / "small.log").write_text("x")
    logs.trim(tmp_path, max_bytes=50)
    assert (tmp_path / "large.log").read_text() == ""
    assert (tmp_path / "large.log.1").read_text() == "x" * 100
    assert (tmp_path / "small.log").read_text() == "x"
