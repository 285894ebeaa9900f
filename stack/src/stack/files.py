"""Writing files so that a reader never sees half of one."""

import json
import os
from pathlib import Path
from tempfile import mkstemp
from typing import Any


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace the file by rename: readers see the old text or the new one (and Envoy watches for renames).

    When several processes write at the same time, the last one wins.
    """
    descriptor, name = mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
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
