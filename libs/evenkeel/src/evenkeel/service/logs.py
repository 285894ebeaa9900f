"""Log lines as JSON objects on standard error, one for each event, ready for any collector."""

import logging
import sys
import time
from typing import Any

from pythonjsonlogger import json
from pythonjsonlogger.core import RESERVED_ATTRS

from evenkeel import tracing
from evenkeel.http.request_context import REQUEST_ID


class JsonFormatter(json.JsonFormatter):
    """Time in RFC 3339 (UTC, milliseconds), level, logger, replica, message, request id, `extra` members, traceback.

    The request id is on each line that is written while a request is handled. So is the trace id, with OpenTelemetry.
    """

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, replica: str) -> None:
        super().__init__(
            ["asctime", "levelname", "name", "replica", "message"],
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "traceback"},
            static_fields={"replica": replica},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn repeats its message with colours
            json_default=str,
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data["level"] = record.levelname.lower()
        if (request_id := REQUEST_ID.get()) is not None:
            log_data["request_id"] = request_id.decode()
        if (trace_id := tracing.trace_id()) is not None:
            log_data["trace_id"] = trace_id


def configure(level: str, replica: str) -> None:
    """Send every logger of the process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(replica))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
