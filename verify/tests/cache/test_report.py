"""The counts of a phase, as people and programs get them."""

from verify.cache.report import REPORT
from verify.cache.tally import CacheTally


def _tally() -> CacheTally:
    """1000 answers, of which 4 were stale."""
    tally = CacheTally("kill-redis", strict=False, writes=20)
    for source, count in (("memory", 600), ("redis", 150), ("database", 246)):
        for _ in range(count):
            tally.fresh(source, 0.0, "")
    for seconds in (0.1, 0.3, 0.2, 1.5):
        tally.fresh("database", seconds, "")
    return tally


def test_a_phase_that_kept_every_promise() -> None:
    document = _tally().as_dict()
    assert (document["reads"], document["stale"], document["stale_share"]) == (1000, 4, 0.004)
    assert document["staleness_ms"] == {"p50": 200.0, "p99": 1500.0, "p99.9": 1500.0, "max": 1500.0}
    assert document["problems"] == []


def test_staleness_beyond_the_promise_is_a_problem_and_is_described() -> None:
    tally = _tally()
    tally.fresh("memory", 2.0, "just in time")
    tally.fresh("memory", 2.001, "user-api-1 answered user 7 as version 3")
    assert tally.problems() == ["1 answers given as fresh lacked a commit that was more than 2 s old"]
    assert tally.examples == [
        "late: user-api-1 answered user 7 as version 3, 2.001 s after a later commit was known",
    ]


def test_a_phase_in_which_nothing_was_answered_or_broken_has_not_passed() -> None:
    assert CacheTally("none", strict=True).problems() == ["0 reads and 0 writes got an answer: that proves nothing"]
    assert CacheTally("x", strict=False, failure="it could not be done").problems() == ["it could not be done"]


def test_the_table() -> None:
    tally = _tally()
    tally.errors.update({"read 503": 2, "PATCH 503": 1})
    tally.breach("min-version", "user-api-2 answered user 7 as version 3, asked for 4")
    assert REPORT.table([tally]).text().splitlines() == [
        "PHASE       READS  WRITES  ERRORS  CACHED  STALE   P50  P99   P99.9  MAX   MARKED  OWN  MIN-V",
        "kill-redis  1000   20      3       75%     0.400%  200  1500  1500   1500  0       0    1",
    ]
    assert REPORT.remarks([tally])[-3:] == [
        "kill-redis: no answer: 2 read 503, 1 PATCH 503",
        "kill-redis: 1 answers were older than Min-Version, or refused although that version had been committed",
        "kill-redis:   min-version: user-api-2 answered user 7 as version 3, asked for 4",
    ]
