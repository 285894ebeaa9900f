"""A reader of a file that is being written sees one complete text."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stack.files import write_atomically


def test_many_who_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    texts = [f"{number:02}" * 5000 for number in range(16)]
    with ThreadPoolExecutor(len(texts)) as pool:
        for _ in range(10):
            list(pool.map(lambda text: write_atomically(path, text), texts))
            assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write_atomically(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_the_one_that_is_asked_for(tmp_path: Path, mode: int) -> None:
    """Envoy's user in the container must be able to read public keys, whatever the umask is."""
    path = tmp_path / "keys.json"
    before = os.umask(0o077)
    try:
        write_atomically(path, "x", mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
