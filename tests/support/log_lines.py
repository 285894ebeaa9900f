"""Log lines as a replica writes them."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

from evenkeel.service.logs import JsonFormatter


class LogLines:
    def __init__(self, output: io.StringIO) -> None:
        self._output = output

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._output.getvalue().splitlines()]

    def request_ids(self, message: str) -> list[str | None]:
        """The request id of each line with this message."""
        return [line.get("request_id") for line in self.all if line["message"] == message]


@contextlib.contextmanager
def written() -> Iterator[LogLines]:
    """The lines that are written in this block, from the level INFO on."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(JsonFormatter("r-1"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield LogLines(output)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
