"""The start of a process, before anything large is imported. So this module imports nothing large itself."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PYDANTIC_1 = "pydantic.v1"
"""FastAPI imports this copy of an old release to find out whether models belong to it, and does without it."""


@contextmanager
def quick_start() -> Iterator[None]:
    """In the block, import what the process needs, and serve. The start takes an eighth less CPU, and 2 MiB.

    Nearly all that imports make stays until the end. So Python looks for no cyclic garbage until the server has started
    (evenkeel.service.server). And `pydantic.v1` cannot be imported, unless it has been before.
    """
    gc.disable()
    blocked = sys.modules.setdefault(_PYDANTIC_1, None) is None  # type: ignore[arg-type]  # Python's way to block it
    try:
        yield
    finally:
        gc.enable()
        if blocked:
            del sys.modules[_PYDANTIC_1]
