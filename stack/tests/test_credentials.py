import base64
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from stack.credentials import Credentials
from stack.errors import StackError


def test_they_are_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = Credentials.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Credentials.load_or_create(path) == made


def test_what_an_older_file_lacks_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = Credentials.load_or_create(path)
    path.write_text(json.dumps({name: value for name, value in asdict(made).items() if name != "uniques_key"}))
    completed = Credentials.load_or_create(path)
    assert completed == replace(made, uniques_key=completed.uniques_key) == Credentials.load_or_create(path)


def test_keys_have_32_bytes() -> None:
    credentials = Credentials()
    keys = [base64.b64decode(key, validate=True) for key in (credentials.cache_key, credentials.uniques_key)]
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


def test_they_do_not_show_in_tracebacks() -> None:
    assert repr(Credentials()) == "Credentials()"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"another": "one"}'])
def test_a_damaged_file_is_not_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(text)
    with pytest.raises(StackError, match="is damaged"):
        Credentials.load_or_create(path)
    assert path.read_text() == text
