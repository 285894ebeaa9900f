"""Ranges of keys that were forgotten: which key is in which, and what becomes of them when there are many."""

import random

import pytest

from evenkeel.cache.ranges import MOST_RANGES, KeyRanges, span_of

GREATEST = 2**63 - 1


def test_both_ends_are_in_a_range() -> None:
    ranges = KeyRanges().adding([(-5, 10)])
    tokens = {ranges.token(str(key)) for key in range(-5, 11)}
    assert len(tokens) == 1
    assert None not in tokens
    assert {ranges.token(str(key)) for key in (-6, 11, GREATEST, -GREATEST)} == {None}


@pytest.mark.parametrize("key", ["", "a", "05", "-0", "+5", " 5", "5 ", "5.0", "5_0", "٤", "5\n", "9" * 5000])
def test_other_texts_are_in_none(key: str) -> None:
    assert KeyRanges().adding([(-GREATEST - 1, GREATEST)]).token(key) is None


def test_the_last_range_counts() -> None:
    first = KeyRanges().adding([(10, 30)])
    second = first.adding([(20, 24)])
    assert [second.token(key) == first.token(key) for key in ("10", "19", "20", "24", "25", "30")] == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    third = second.adding([(15, 40)])
    assert third.token("14") == first.token("14")
    assert third.token("15") == third.token("40") not in {first.token("15"), second.token("20")}


def test_text() -> None:
    ranges = KeyRanges().adding([(-5, -1)]).adding([(1, 2), (GREATEST, GREATEST)])
    again = KeyRanges.parse(str(ranges))
    assert str(again) == str(ranges)
    assert again.token("-3") == ranges.token("-3") is not None
    assert str(KeyRanges.parse("")) == ""


@pytest.mark.parametrize(
    "text",
    ["x", ";", "1..2", "1..2=abc", "1..2=0123456g", "01..2=01234567", "5..9=01234567;1..2=01234567",
     "1..5=01234567;5..9=01234567", "1..2=01234567;"],
)  # fmt: skip
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match="no range"):
        KeyRanges.parse(text)


def test_too_many_become_fewer_and_what_was_changed_is_always_new() -> None:
    """A key's token, once it is another one, never comes back, whatever is merged."""
    dice = random.Random(11)
    ranges = KeyRanges()
    over: dict[int, set[str | None]] = {key: set() for key in range(200)}
    for _ in range(2000):
        added = [(low, low + dice.randrange(9)) for low in (dice.randrange(190) for _ in range(dice.randint(1, 3)))]
        before, ranges = ranges, ranges.adding(added)
        assert str(ranges).count(";") < MOST_RANGES
        for key, tokens in over.items():
            was, now = before.token(str(key)), ranges.token(str(key))
            if was != now:
                tokens.add(was)
            assert now not in tokens
            assert was != now or not any(low <= key <= high for low, high in added)


def test_what_is_far_from_all_changes_stays() -> None:
    ranges = KeyRanges()
    for number in range(100):
        low = 1_001 + 60_000 * number
        ranges = ranges.adding([(low, low + 59_999)])
    assert ranges.token("1000") is None
    assert ranges.token("1001") is not None


def test_a_long_load_forgets_its_earlier_parts_seldom() -> None:
    ranges, forgotten = KeyRanges(), 0
    for number in range(256):
        before, ranges = ranges, ranges.adding([(number * 10, number * 10 + 9)])
        forgotten += before.token("0") != ranges.token("0")
    assert forgotten <= 10


def test_the_span_of_keys_that_may_be_in_a_range() -> None:
    assert span_of(["7", "-3", "0"]) == (-3, 7)
    assert span_of([str(-(2**63)), str(2**63 - 1)]) == (-(2**63), 2**63 - 1)
    assert [span_of(keys) for keys in ([], ["1", "a"], ["07"], ["+7"], ["1 "], [""])] == [None] * 6
