"""Lets schemathesis call every operation. It loads this module by SCHEMATHESIS_HOOKS."""

import json
from typing import Any

import schemathesis
from tests.support.generated_client import UNDECLARED


@schemathesis.serializer("application/x-ndjson")
def newline_delimited(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """The text in the form that the document requires. Any other value of schemathesis becomes a line of JSON."""
    if isinstance(value, bytes):
        return value
    return value.encode(errors="replace") if isinstance(value, str) else json.dumps(value).encode() + b"\n"


@schemathesis.check
def header_fields_are_declared(_: schemathesis.CheckContext, response: schemathesis.Response, case: Any) -> None:
    """Every header field of the answer must be declared in the document."""
    declared = case.operation.responses.find_by_status_code(response.status_code)
    if declared is None:
        return  # covered by another check
    unknown = response.headers.keys() - UNDECLARED - {name.lower() for name in declared.definition["headers"]}
    assert not unknown, f"Undeclared header fields: {', '.join(sorted(unknown))}"
