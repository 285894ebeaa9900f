"""Files that are there completely or not at all."""

import json
import os
from pathlib import Path
from tempfile import mkstemp
from typing import Any


def write_atomically(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace the file by rename: readers see the old text or the new one (and Envoy watches for renames).

    Of several who write at the same time, one is the last.
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
    """As `write_json` writes it."""
    return json.dumps(document, indent=1) + "\n"
