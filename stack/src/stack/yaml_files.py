"""Reading the gateway's YAML files."""

from pathlib import Path
from typing import Any

import yaml

# The parser in C is ten times as fast. Not every build of PyYAML has it.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """The document in the file: objects, lists and scalars only, as with `yaml.safe_load`."""
    return yaml.load(path.read_text(), Loader=_LOADER)  # noqa: S506 (both loaders are safe)
