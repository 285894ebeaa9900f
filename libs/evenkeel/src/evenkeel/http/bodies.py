"""Bodies must have a media type that the route takes, no coding, and UTF-8. Others are refused before they are read."""

import json
from collections import Counter
from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from evenkeel.http.problems import InvalidInput, UnsupportedMediaType, printable

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


def takes_merge_patch(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra=` of a route that takes a JSON merge patch (RFC 7396) of this form under either name."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"content": {MERGE_PATCH: {"schema": schema}}}}


class StrictBody(APIRoute):
    """A route that answers 415 to bodies of other types than its OpenAPI document names.

    These are JSON if the route has a body parameter, and the types that its `openapi_extra` adds.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        extra = (self.openapi_extra or {}).get("requestBody", {}).get("content", {})
        taken = tuple(dict.fromkeys([*([JSON] if self.body_field else []), *extra]))
        if not taken:
            return handle

        async def handle_typed(request: Request) -> Response:
            _require(request, taken)
            try:
                return await handle(_JsonRequest(request.scope, request.receive))
            except HTTPException as error:
                # FastAPI makes one of whatever else `json` raises.
                if isinstance(error.__cause__, InvalidInput):
                    raise error.__cause__ from None
                raise

        return handle_typed


class _JsonRequest(Request):
    async def json(self) -> Any:
        """As `parse_json` reads it."""
        return parse_json(await self.body())


def parse_json(body: bytes) -> Any:
    """JSON in UTF-8, with or without a byte order mark (RFC 8259, 8.1).

    Raise json.JSONDecodeError, or InvalidInput if an object has two members of one name.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("not UTF-8", "", error.start) from None
    return _DECODER.decode(text)


_MOST_DIGITS = 4000
"""Python refuses to read integers that are a little longer, because that takes quadratic time."""


def _integer(digits: str) -> int | float:
    # As for `1e999`, the nearest that Python has: infinity, which no field takes, and the problem names the field.
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    # Left alone, Python keeps the last one and drops the others without a word (RFC 8259, 4; RFC 7493, 2.3).
    found = dict(members)
    if len(found) == len(members):
        return found
    times = Counter(name for name, _ in members)
    repeated = next(name for name in times if times[name] > 1)
    raise InvalidInput(
        "Send each member of an object once.",
        errors=[{"in": "body", "field": printable(repeated), "detail": "sent more than once"}],
    )


_DECODER = json.JSONDecoder(parse_int=_integer, object_pairs_hook=_object)


def _require(request: Request, taken: tuple[str, ...]) -> None:
    """Raise UnsupportedMediaType if there is a body of a type that is not taken."""
    headers = request.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    if headers.get("content-encoding", "identity").strip().lower() not in {"identity", ""}:
        raise UnsupportedMediaType(
            "Send the body as it is, without Content-Encoding.", headers={"Accept-Encoding": "identity"}
        )
    sent = headers.get("content-type", "")
    if sent in taken:
        return
    message = Message()
    message["content-type"] = sent
    # What is no media type at all is text/plain to Message.
    if message.get_content_type() not in taken:
        names = " or ".join(taken)
        raise UnsupportedMediaType(f"Send the body with Content-Type: {names}.", headers=_help(request, taken))
    if message.get_content_charset("utf-8") not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("Send the body in UTF-8.", headers=_help(request, taken))


def _help(request: Request, taken: tuple[str, ...]) -> dict[str, str]:
    """RFC 9110, 15.5.16; RFC 5789, 2.2."""
    types = ", ".join(taken)
    return {"Accept": types} | ({"Accept-Patch": types} if request.method == "PATCH" else {})
