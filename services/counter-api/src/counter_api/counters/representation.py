"""A counter as it is sent. The routes and the hot increments both send these bytes, so their answers are the same."""

from collections.abc import Mapping

from starlette.responses import Response

JSON = "application/json"

COUNTER = b'{"name":"%b","value":%d}'
"""The body. A name has no character that JSON would escape."""

CONTENT_TYPE = (b"content-type", JSON.encode())
"""The last header field, after Content-Length."""


def response_of(name: str, value: int, headers: Mapping[str, str], *, status_code: int = 200) -> Response:
    return Response(COUNTER % (name.encode(), value), status_code=status_code, headers=headers, media_type=JSON)
