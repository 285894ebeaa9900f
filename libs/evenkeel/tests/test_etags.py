import pytest

from evenkeel.etags import etag, none_match, numbers, parse_if_match
from evenkeel.problems import InvalidInput


def test_etag() -> None:
    assert (etag(7), etag(-7), etag("a-b")) == ('"7"', '"-7"', '"a-b"')


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, None),
        ("*", None),
        (" * ", None),
        ('"1"', {"1"}),
        ('"1", "-2","3"', {"1", "-2", "3"}),
        ('W/"1"', set()),
        ('"x"', {"x"}),
        ('""', {""}),
        ('"a,b", "W/"', {"a,b", "W/"}),
        ('"007"', {"007"}),
        ('"1", W/"2"', {"1"}),
        ('"11", , "12"', {"11", "12"}),
        (' ,\t"1" ,,\t, "2", ', {"1", "2"}),
        (',"é"', {"é"}),
    ],
)
def test_if_match(header: str | None, accepted: set[str] | None) -> None:
    assert parse_if_match(header) == accepted


def test_states_that_are_numbers() -> None:
    assert numbers(None) is None
    assert numbers(["1", "-2", "0", "x", "", "007", "-0", "+1", "9" * 400]) == frozenset({0, 1, -2})


@pytest.mark.parametrize(
    "header", ["", " ", ",", ", ,", "1", '"1', '"1" "2"', '"1", 2', "*, *", '*, "1"', '"1\n"', '"1"\n', "W/", 'w/"1"']
)
def test_what_is_no_list_of_tags_is_refused(header: str) -> None:
    for parse in (parse_if_match, lambda value: none_match(value, 1)):
        with pytest.raises(InvalidInput):
            parse(header)


@pytest.mark.parametrize(
    ("header", "sends"),
    [
        (None, True),
        ("*", False),
        ('"7"', False),
        ('W/"7"', False),
        ('"8"', True),
        ('"8","7"', False),
        (',"8", ,W/"7",', False),
    ],
)
def test_if_none_match(header: str | None, *, sends: bool) -> None:
    assert none_match(header, 7) is sends
