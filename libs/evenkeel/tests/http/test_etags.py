import pytest

from evenkeel.http.etags import etag, numbers, parse_tags
from evenkeel.http.problems import InvalidInput


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
    tags = parse_tags(header, "If-Match", weak=False)
    assert (None if tags is None or tags.every else tags.states) == accepted


def test_states_that_are_numbers() -> None:
    assert numbers(None) is None
    assert numbers(["1", "-2", "0", "x", "", "007", "-0", "+1", "9" * 400]) == frozenset({0, 1, -2})


@pytest.mark.parametrize(
    "header", ["", " ", ",", ", ,", "1", '"1', '"1" "2"', '"1", 2', "*, *", '*, "1"', '"1\n"', '"1"\n', "W/", 'w/"1"']
)
def test_what_is_no_list_of_tags_is_refused(header: str) -> None:
    for name, weak in (("If-Match", False), ("If-None-Match", True)):
        with pytest.raises(InvalidInput):
            parse_tags(header, name, weak=weak)


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
    tags = parse_tags(header, "If-None-Match", weak=True)
    assert (tags is None or not tags.cover(7)) is sends
