"""Which requests a layer ahead of FastAPI may answer."""

from typing import Any

import pytest

from evenkeel.http.plain import Plain
from evenkeel.http.repeated_fields import SINGLE

IS_PLAIN = Plain("POST", reads=frozenset({b"x-mine"}))


def scope(*fields: tuple[bytes, bytes], **changes: Any) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "headers": [(b"host", b"x"), *fields, (b"accept", b"*/*")], **changes}


@pytest.mark.parametrize(
    "field",
    [(b"cache-control", b"no-cache"), (b"content-encoding", b"gzip"), (b"content-length", b"0"), (b"x-other", b"")],
)
def test_plain(field: tuple[bytes, bytes]) -> None:
    assert IS_PLAIN(scope())
    assert IS_PLAIN(scope(field))


@pytest.mark.parametrize(
    "name",
    [*sorted(SINGLE), b"if-match", b"if-none-match", b"content-length", b"transfer-encoding", b"expect", b"x-mine"],
)
def test_fields_that_can_change_the_answer(name: bytes) -> None:
    assert not IS_PLAIN(scope((name, b"1")))
    assert not IS_PLAIN(scope((b"content-length", b"0"), (name, b"1")))


def test_a_length_written_in_another_way_is_not_plain() -> None:
    assert not IS_PLAIN(scope((b"content-length", b"00")))


@pytest.mark.parametrize("changes", [{"method": "GET"}, {"type": "websocket"}])
def test_other_requests(changes: dict[str, Any]) -> None:
    assert not IS_PLAIN(scope(**changes))


def test_the_lifespan_is_no_request() -> None:
    assert not IS_PLAIN({"type": "lifespan"})
