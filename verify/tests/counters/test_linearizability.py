"""The check of counters' histories: each contradiction by example, and all small histories against a brute force."""

import dataclasses
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.counters.history import Counted, History, Seen
from verify.counters.linearizability import Verdict, check


def verdict(*operations: Counted | Seen, unknown: tuple[float, ...] = (), final: int | None = None) -> Verdict:
    counted = [each for each in operations if isinstance(each, Counted)]
    seen = [each for each in operations if isinstance(each, Seen)]
    found = check(History("a", counted, seen, list(unknown), final))
    assert bool(found.examples) is not found.linearizable
    return dataclasses.replace(found, examples=[])


RIGHT = Verdict()


def test_nothing_at_all_is_right() -> None:
    assert verdict() == RIGHT


def test_one_after_the_other() -> None:
    assert verdict(Counted(1, 1, 0, 1), Counted(4, 3, 2, 3), Seen(4, 4, 5), Counted(5, 1, 6, 7), final=5) == RIGHT


def test_operations_at_the_same_time_may_have_any_order() -> None:
    assert verdict(Counted(2, 1, 0, 5), Counted(1, 1, 1, 6), Seen(0, 2, 7), Seen(2, 2, 7), Seen(1, 4, 5)) == RIGHT


def test_a_value_given_twice_is_a_loss() -> None:
    assert verdict(Counted(1, 1, 0, 1), Counted(1, 1, 0, 1)) == Verdict(lost=1)


def test_values_that_overlap_are_a_loss_of_what_they_share() -> None:
    assert verdict(Counted(5, 5, 0, 1), Counted(7, 4, 0, 1)) == Verdict(lost=2)
    assert verdict(Counted(4, 4, 0, 9), Counted(6, 1, 0, 9), Counted(7, 5, 0, 9), Seen(6, 0, 9)) == Verdict(lost=3)


def test_starting_over_is_a_loss_and_out_of_order() -> None:
    history = [Counted(value, 1, value, value + 0.5) for value in range(1, 4)]
    again = [Counted(value, 1, value + 10, value + 10.5) for value in range(1, 4)]
    assert verdict(*history, *again, final=3) == Verdict(lost=3, disordered=2)


def test_a_value_below_what_was_there_at_first_is_a_loss() -> None:
    assert verdict(Counted(-5, 1, 0, 1), Counted(1, 3, 0, 1)) == Verdict(lost=3)


def test_an_end_below_what_was_acknowledged_is_a_loss() -> None:
    assert verdict(Counted(1, 1, 0, 1), Counted(2, 1, 0, 1), Seen(1, 2, 3), final=1) == Verdict(lost=1, disordered=1)


def test_a_gap_is_a_double() -> None:
    assert verdict(Counted(1, 1, 0, 1), Counted(3, 1, 2, 3)) == Verdict(doubled=1)
    assert verdict(Counted(3, 1, 2, 3)) == Verdict(doubled=2)


def test_an_end_above_what_was_acknowledged_is_a_double() -> None:
    assert verdict(Counted(1, 1, 0, 1), Seen(3, 2, 3), final=3) == Verdict(doubled=2)


def test_a_gap_of_any_size_takes_no_time() -> None:
    assert verdict(Counted(2**62, 1, 0, 1), unknown=(0,)) == Verdict(doubled=2**62 - 2, applied=1)


def test_gaps_are_filled_by_what_has_an_unknown_outcome() -> None:
    assert verdict(Counted(1, 1, 0, 1), Counted(4, 1, 2, 3), unknown=(0, 0, 0)) == Verdict(applied=2)


def test_a_gap_is_not_filled_by_what_began_when_something_above_had_ended() -> None:
    assert verdict(Counted(2, 1, 0, 1), unknown=(2,)) == Verdict(doubled=1)
    assert verdict(Seen(1, 0, 1), unknown=(2,)) == Verdict(doubled=1)
    assert verdict(Counted(2, 1, 0, 3), unknown=(2,)) == Verdict(applied=1)


def test_one_unknown_outcome_fills_one_gap() -> None:
    gaps = [Counted(2, 1, 0, 9), Counted(4, 1, 0, 9)]
    assert verdict(*gaps, unknown=(0,)) == Verdict(doubled=1, applied=1)
    assert verdict(*gaps, unknown=(0, 0)) == Verdict(applied=2)


def test_unknown_outcomes_are_matched_with_the_gaps_that_they_fit() -> None:
    # Only the increment that began at 0 fits the gap below 2. The later one must fill the gap below 4.
    assert verdict(Counted(2, 1, 0, 1), Counted(4, 1, 6, 9), unknown=(0, 5)) == Verdict(applied=2)
    assert verdict(Counted(2, 1, 0, 1), Counted(4, 1, 6, 9), unknown=(5, 5)) == Verdict(doubled=1, applied=1)


def test_order() -> None:
    assert verdict(Counted(2, 1, 0, 1), Counted(1, 1, 2, 3)) == Verdict(disordered=1)


def test_a_tie_is_no_order() -> None:
    assert verdict(Counted(2, 1, 0, 1), Counted(1, 1, 1, 2)) == RIGHT
    assert verdict(Counted(2, 1, 0, 1), unknown=(1,)) == Verdict(applied=1)


def test_everything_that_had_ended_too_soon_is_counted() -> None:
    early = [Counted(value, 1, 0, 1) for value in (2, 3, 4)]
    assert verdict(*early, Counted(1, 1, 5, 6), Counted(5, 1, 5, 6)) == Verdict(disordered=3)


def test_reads_that_go_back() -> None:
    counted = [Counted(1, 1, 0, 9), Counted(2, 1, 0, 9)]
    assert verdict(*counted, Seen(2, 1, 2), Seen(1, 3, 4)) == Verdict(disordered=1)
    assert verdict(*counted, Seen(2, 1, 2), Seen(0, 3, 4)) == Verdict(disordered=1)


def test_a_read_that_lacks_what_had_been_acknowledged() -> None:
    assert verdict(Counted(1, 1, 0, 1), Seen(0, 2, 3)) == Verdict(disordered=1)


def test_a_read_of_what_had_not_begun() -> None:
    assert verdict(Seen(1, 0, 1), Counted(1, 1, 2, 3)) == Verdict(disordered=1)


def test_a_read_of_a_part_of_an_increment() -> None:
    assert verdict(Counted(3, 3, 0, 9), Seen(2, 1, 2)) == Verdict(torn=1)
    assert verdict(Seen(-1, 1, 2)) == Verdict(torn=1)


class Step(NamedTuple):
    """An operation for `orders_exist`: it adds `by`, and leaves the counter at `value`."""

    by: int
    value: int | None
    began: float
    ended: float | None


def orders_exist(steps: frozenset[tuple[int, Step]], now: int = 0) -> bool:
    """Whether the operations can happen one by one from this value on, in some order. This tries all orders."""
    due = [step.ended for _, step in steps if step.ended is not None]
    if not due:
        return True
    for entry in steps:
        step = entry[1]
        after = now + step.by
        if step.began <= min(due) and step.value in {None, after} and orders_exist(steps - {entry}, after):
            return True
    return False


def steps_of(history: History) -> frozenset[tuple[int, Step]]:
    steps = [
        *(Step(op.by, op.value, op.began, op.ended) for op in history.counted),
        *(Step(0, op.value, op.began, op.ended) for op in history.seen),
        *(Step(1, None, began, None) for began in history.unknown),
    ]
    return frozenset(enumerate(steps))


@st.composite
def almost_right(draw: st.DrawFn) -> History:
    """A right history of a few operations at the times 10, 20, …, or one with a few values or times changed."""
    history = History("a")
    value = 0
    for moment in range(10, 10 * draw(st.integers(2, 7)), 10):
        recorded = moment + draw(st.sampled_from([0] * 8 + [-40, 40]))
        began, ended = recorded - draw(st.integers(1, 35)), recorded + draw(st.integers(1, 35))
        kind = draw(st.sampled_from(["count", "count", "read", "applied", "not applied"]))
        off = draw(st.sampled_from([0] * 8 + [-1, 1]))
        if kind == "count":
            by = draw(st.integers(1, 3))
            value += by
            history.counted.append(Counted(value + off, by, began, ended))
        elif kind == "read":
            history.seen.append(Seen(value + off, began, ended))
        else:
            value += kind == "applied"
            history.unknown.append(began)
    return history


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(almost_right())
def test_the_check_agrees_with_trying_all_orders(history: History) -> None:
    assert check(history).linearizable is orders_exist(steps_of(history))


@pytest.mark.parametrize("length", [30_000])
def test_long_histories_are_checked_at_once(length: int) -> None:
    counted = [Counted(2 * value, 1, value, value + 20) for value in range(1, length)]
    unknown = [value - 5.0 for value in range(1, length)]
    seen = [Seen(2 * value, value, value + 3) for value in range(1, length)]
    found = check(History("a", counted, seen, unknown, 2 * length - 2))
    assert (found.linearizable, found.applied) == (True, length - 1)
