"""The arithmetic, with histories whose results are known."""

import math

import pytest

from verify.cache.staleness import NEVER, RowHistory, deleted, quantile


@pytest.fixture
def history() -> RowHistory:
    """Created at 10, changed at 20 and 30, deleted at 40, there again at 40 (one transaction), changed at 50."""
    history = RowHistory()
    for position, at in (((1, 1), 10), ((1, 2), 20), ((1, 3), 30), (deleted(1), 40), ((2, 1), 40), ((2, 2), 50)):
        history.committed(position, at)
    return history


@pytest.mark.parametrize(
    ("position", "asked", "staleness"),
    [
        ((2, 2), 99, 0),  # the newest
        ((2, 1), 49, 0),  # the newest when the question was sent
        ((2, 1), 50, 0),
        ((2, 1), 51.5, 1.5),
        ((1, 2), 30, 0),
        ((1, 2), 60, 30),  # since the first change that it lacks, not the last
        ((1, 3), 41, 1),  # it was deleted
        (deleted(1), 40, 0),
        (deleted(1), 43, 3),  # it was there again
        (NEVER, 12, 2),  # it had been created
        (NEVER, 9, 0),
    ],
)
def test_staleness_counts_from_the_first_commit_that_the_answer_lacks(
    history: RowHistory, position: tuple[int, float], asked: float, staleness: float
) -> None:
    assert history.staleness(position, asked) == staleness


def test_a_version_between_two_known_ones_lacks_the_later() -> None:
    history = RowHistory()
    history.committed((1, 1), 10)
    history.committed((1, 4), 20)
    assert history.staleness((1, 2), 25) == 5
    assert history.staleness((1, 4), 25) == 0


def test_an_unacknowledged_commit_counts_from_when_it_was_seen() -> None:
    history = RowHistory()
    history.committed((1, 1), 10)
    history.committed((1, 2), 15)  # in the answer to a read
    history.committed((1, 2), 30)  # later its writer got an answer
    assert history.staleness((1, 1), 31) == 16


def test_news_of_an_old_commit_changes_nothing() -> None:
    history = RowHistory()
    history.committed((1, 5), 10)
    history.committed((1, 4), 20)
    assert history.staleness((1, 3), 21) == 11
    assert history.latest == (1, 5)


def test_an_answer_from_the_future_is_not_stale(history: RowHistory) -> None:
    assert history.staleness((2, 7), 99) == 0
    assert history.staleness(deleted(2), 99) == 0


def test_nothing_is_known_of_a_row_that_nobody_has_made() -> None:
    history = RowHistory()
    assert history.staleness(NEVER, 99) == 0
    assert history.latest == NEVER


def test_a_deletion_comes_after_every_version() -> None:
    assert (1, math.inf) == deleted(1) < (2, 1)


def test_quantiles_by_nearest_rank() -> None:
    values = list(range(1, 1001))
    assert [quantile(values, share) for share in (0.5, 0.99, 0.999, 1)] == [500, 990, 999, 1000]
    assert quantile([7.0], 0.5) == quantile([7.0], 0.999) == 7
    assert quantile([], 0.5) == 0
