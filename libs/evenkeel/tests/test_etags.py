import pytest

from evenkeel.etags import check_if_match, etag, none_match, parse_if_match
from evenkeel.problems import InvalidInput, PreconditionFailed


def test_etag() -> None:
    assert (etag(7), etag(-7)) == ('"7"', '"-7"')


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, None),
        ("*", None),
        (" * ", None),
        ('"1"', {1}),
        ('"1", "-2","3"', {1, -2, 3}),
        ('W/"1"', set()),
        ('"x"', set()),
        ('""', set()),
        ('"007"', set()),
        ('"-0"', set()),
        ('"1", W/"2"', {1}),
        (f'"{"9" * 400}"', set()),
    ],
)
def test_if_match(header: str | None, accepted: set[int] | None) -> None:
    assert parse_if_match(header) == accepted


@pytest.mark.parametrize("header", ["", "1", '"1', '"1" "2"', '"1",', "*, *", '"1\n"'])
def test_what_is_no_list_of_tags_is_refused(header: str) -> None:
    for parse in (parse_if_match, lambda value: none_match(value, 1)):
        with pytest.raises(InvalidInput):
            parse(header)


def test_check_if_match() -> None:
    check_if_match('"7"', 7)
    check_if_match(None, 7)
    with pytest.raises(PreconditionFailed) as failure:
        check_if_match('"8"', 7)
    assert failure.value.members == {"current": 7}


@pytest.mark.parametrize(
    ("header", "sends"),
    [(None, True), ("*", False), ('"7"', False), ('W/"7"', False), ('"8"', True), ('"8","7"', False)],
)
def test_if_none_match(header: str | None, *, sends: bool) -> None:
    assert none_match(header, 7) is sends
