"""Paths of the programs in PyPI packages."""

import sys
from importlib.util import find_spec
from pathlib import Path

from stack.errors import StackError


def program(package: str, pattern: str) -> Path:
    """The file in the package's folder that matches the pattern.

    The package is not imported: some contain a whole client, whose import would slow down every command.
    """
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or []:
        for path in Path(folder).glob(pattern):
            return path
    raise StackError(f"the package {package} has no {Path(pattern).name} for {sys.platform}")
