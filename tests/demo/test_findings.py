"""A part of the demonstration whose difference does not show says so."""

import pytest
from demo import counting, following, outages, stampede
from demo.counting import VISITS, Visits
from demo.findings import NO_BREAK, Finding, seconds
from demo.following import WINDOW, Followed
from demo.outages import Counts, Reads
from demo.stampede import READERS, Stampede

from verify.counters.history import Counted, History

EXACT = Visits(range(1, VISITS + 1))
WRONG = Visits([1, 1, 2, 2])


def counts(*values: int, final: int | None, unknown: int = 0) -> Counts:
    """Each increment began after the one before it had ended."""
    counted = [Counted(value, 1, began, began + 0.5) for began, value in enumerate(values)]
    return Counts(History("counter", counted=counted, unknown=[0.0] * unknown, final=final), repeated=unknown)


GOOD = [
    counting.finding(WRONG, EXACT),
    counting.finding(WRONG, Visits([*range(1, VISITS), VISITS + 1], unanswered=1)),
    following.by_hand(Followed(None, [0.05, 0.1], 290)),
    following.late_fill(Followed(None, [0.05, 1.9], 290)),
    outages.reads_finding(Reads(1000, failed=1), Reads(1000)),
    outages.counts_finding(counts(1, 2, 1, final=1), counts(1, 2, 3, final=3)),
    outages.counts_finding(counts(1, 2, final=0), counts(1, 3, final=3, unknown=1)),
    stampede.finding(Stampede(100, READERS), Stampede(1, READERS)),
]

BAD = {
    "the tutorial's counter missed no visit": counting.finding(EXACT, EXACT),
    "Evenkeel did not count each visit once": counting.finding(WRONG, WRONG),
    "the tutorial's cache answered the new user": following.by_hand(Followed(3.0, [0.1], 290)),
    "the tutorial's Redis no longer had the old user": following.by_hand(Followed(None, [0.1], -2)),
    f"not every replica of Evenkeel followed within 2{NO_BREAK}s": following.late_fill(Followed(None, [0.1, None], 9)),
    "no read of the tutorial failed": outages.reads_finding(Reads(1000), Reads(1000)),
    "reads of Evenkeel failed": outages.reads_finding(Reads(1000, failed=5), Reads(1000, failed=1)),
    "Evenkeel was not read": outages.reads_finding(Reads(1000, failed=5), Reads()),
    "the tutorial lost no increment": outages.counts_finding(counts(1, 2, final=2), counts(1, final=1)),
    "Evenkeel lost increments": outages.counts_finding(counts(1, 1, final=1), counts(1, 1, final=1)),
    "Evenkeel counted increments twice": outages.counts_finding(counts(1, 1, final=1), counts(1, 3, final=3)),
    "Evenkeel's counter could not be read": outages.counts_finding(counts(1, 1, final=1), counts(1, final=None)),
    "Evenkeel's queries were not fewer than a 10th": stampede.finding(Stampede(9, READERS), Stampede(1, READERS)),
    "Evenkeel did not answer every reader": stampede.finding(Stampede(100, 5), Stampede(1, READERS - 1)),
}


@pytest.mark.parametrize("finding", GOOD, ids=lambda finding: finding.title)
def test_a_difference_that_shows(finding: Finding) -> None:
    assert finding.missing == ()
    assert finding.bars[0].value > finding.bars[1].value


def test_visits_without_any_answer_show_nothing() -> None:
    """Instead of an error, and of a counter that looks exact."""
    finding = counting.finding(Visits([], unanswered=VISITS), Visits([], unanswered=VISITS))
    assert finding.missing == ("the tutorial's counter missed no visit", "Evenkeel did not count each visit once")


@pytest.mark.parametrize("reason", BAD)
def test_a_difference_that_does_not_show(reason: str) -> None:
    assert BAD[reason].missing == (reason,)


def test_without_any_query_nothing_is_shown() -> None:
    assert stampede.finding(Stampede(0, 0), Stampede(0, READERS)).missing != ()


def test_the_figures_are_in_the_line() -> None:
    followed = following.by_hand(Followed(None, [0.05, 0.1], 290))
    for part in (seconds(WINDOW), seconds(290), f"100{NO_BREAK}ms"):
        assert part in followed.line
    assert followed.bars[0].lasting
    assert "answers the new user after 3" in following.by_hand(Followed(3.0, [0.1], 290)).line
    assert "do not all answer" in following.by_hand(Followed(3.0, [None], 290)).line
    lost = outages.counts_finding(counts(1, 2, 1, final=1), counts(1, 3, final=3, unknown=1))
    assert "3 acknowledged increments 2 are lost" in lost.line
    assert "1 requests had to be repeated" in lost.line


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0004, "less than 1 ms"), (0.0874, "87 ms"), (1.0, "1 s"), (2.345, "2.35 s"), (10.0, "10 s"), (289.0, "289 s")],
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value).replace(NO_BREAK, " ") == text


def test_queries_of_users_in_a_log_of_postgresql() -> None:
    """As PostgreSQL 18 has written it."""
    log = (
        "2026-11-26 13:00:00.000 UTC [9] LOG:  execute evenkeel_3: SELECT users.id, users.email \n"
        "\tFROM users \n"
        "\tWHERE users.id = ANY ($1::BIGINT[])\n"
        "2026-11-26 13:00:00.000 UTC [9] DETAIL:  Parameters: $1 = '{5}'\n"
        "2026-11-26 13:00:00.001 UTC [8] LOG:  execute __asyncpg_stmt_1__: SELECT id, name FROM users, pg_sleep($2)\n"
        "2026-11-26 13:00:00.001 UTC [7] LOG:  execute evenkeel_1: SELECT id FROM user_changes\n"
        "2026-11-26 13:00:00.001 UTC [7] LOG:  execute evenkeel_4: UPDATE users SET name = $1\n"
        "2026-11-26 13:00:00.001 UTC [7] LOG:  statement: LOCK TABLE users IN ACCESS EXCLUSIVE MODE\n"
    )
    assert stampede.queries(log) == 2
