"""Log lines as JSON objects on standard error, one per event, ready for any collector."""

import json
import logging
import sys
import time
from typing import Any

# What every LogRecord has; anything else was given by `extra=` and is logged as a member of its own.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    """Time in RFC 3339 UTC with milliseconds, level, logger, replica, message, `extra` members, traceback."""

    def __init__(self, replica: str) -> None:
        super().__init__()
        self._replica = replica

    def format(self, record: logging.LogRecord) -> str:
        seconds, milliseconds = divmod(int(record.created * 1000), 1000)
        event: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "replica": self._replica,
            "message": record.getMessage(),
        }
        event.update({name: value for name, value in vars(record).items() if name not in _STANDARD})
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


def configure(level: str, replica: str) -> None:
    """Send every logger of the process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(replica))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
