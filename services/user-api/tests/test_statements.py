"""Names of parameters become numbers."""

import pytest

from user_api.statements import Statement


def test_a_name_has_one_number_wherever_it_is() -> None:
    statement = Statement("SELECT $b::int, $a || '$', $b FROM t WHERE c = ANY ($cs::bigint[]) LIMIT 1")
    assert statement.text == "SELECT $1::int, $2 || '$', $1 FROM t WHERE c = ANY ($3::bigint[]) LIMIT 1"
    assert statement.arguments({"a": "x", "cs": [3], "b": 1, "unused": None}) == [1, "x", [3]]


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError):
        Statement("SELECT $a").arguments({})
