"""What schemathesis needs to know to call every operation; it loads this module by SCHEMATHESIS_HOOKS."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def newline_delimited(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """The text that the document asks for as it is; whatever else schemathesis comes up with is a line of JSON."""
    if isinstance(value, bytes):
        return value
    return value.encode(errors="replace") if isinstance(value, str) else json.dumps(value).encode() + b"\n"
