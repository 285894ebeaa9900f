"""Log files: reading their ends, following them, and keeping them small."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 32 * 1024 * 1024
"""A log that grows beyond this moves to `<name>.log.1`."""


def tail(path: Path, lines: int, *, since: int = 0) -> list[str]:
    """The last lines that were written after the offset `since`, from the last 64 KiB."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(since, size), size - 65536))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def follow(paths: list[Path], *, interval: float = 0.2) -> Iterator[tuple[Path, str]]:
    """The lines that are appended to the files after this call; never ends."""
    return _lines_after({path: path.stat().st_size if path.exists() else 0 for path in paths}, interval)


def trim(directory: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Move the content of large logs aside. Their writers append, so a truncated file simply begins again."""
    for path in directory.glob("*.log"):
        if path.stat().st_size > max_bytes:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)


def _lines_after(offsets: dict[Path, int], interval: float) -> Iterator[tuple[Path, str]]:
    while True:
        for path in offsets:
            for line in _appended(path, offsets):
                yield path, line
        time.sleep(interval)


def _appended(path: Path, offsets: dict[Path, int]) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < offsets[path]:  # trimmed
            offsets[path] = 0
        file.seek(offsets[path])
        complete, newline, _ = file.read().rpartition(b"\n")
    offsets[path] += len(complete) + len(newline)
    return complete.decode(errors="replace").splitlines()
