"""Writing files so that a reader never sees half of one."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkstemp
from typing import Any, BinaryIO


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace the file by rename: readers see the old text or the new one (and Envoy watches for renames).

    When several processes write at the same time, the last one wins.
    """
    with written_atomically(path, mode=mode) as file:
        file.write(text.encode())


@contextlib.contextmanager
def written_atomically(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """The same for contents that come in pieces. If the block fails, the file stays as it was."""
    descriptor, name = mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            yield file
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, document: Any, *, mode: int = 0o600) -> None:
    write_atomically(path, json_text(document), mode=mode)


def json_text(document: Any) -> str:
    """The text that `write_json` writes."""
    return json.dumps(document, indent=1) + "\n"
