import base64
from pathlib import Path

import pytest

from stack.credentials import Credentials
from stack.errors import StackError


def test_they_are_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = Credentials.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Credentials.load_or_create(path) == made


def test_the_cache_key_is_for_aes_256() -> None:
    assert len(base64.b64decode(Credentials().cache_key, validate=True)) == 32


def test_they_do_not_show_in_tracebacks() -> None:
    assert repr(Credentials()) == "Credentials()"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"another": "one"}'])
def test_a_damaged_file_is_not_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(text)
    with pytest.raises(StackError, match="is damaged"):
        Credentials.load_or_create(path)
    assert path.read_text() == text
