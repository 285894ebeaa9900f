"""The OpenAPI document in a form that generators of clients need.

FastAPI's own document is right about addresses, parameters and bodies. Here all errors have the same named type.
Integers have a format and exact bounds. Every header field of a response is declared. Nothing is repeated.
"""

import copy
import http
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from evenkeel.http.bodies import MERGE_PATCH

Node = dict[str, Any]

INT32_MAX = 2**31 - 1
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_TEXT: Node = {"type": "string"}
_SECONDS: Node = {"type": "integer", "minimum": 0}

HEADERS: Mapping[str, Node] = {
    "X-Request-Id": {
        "description": "Names this request in the logs: the one that was sent, if it was a plain token",
        "required": True,
        "schema": _TEXT,
    },
    "X-Served-By": {"description": "The replica that answered", "required": True, "schema": _TEXT},
    "Accept": {"description": "RFC 9110, 15.5.16: the media types that a body may have", "schema": _TEXT},
    "Accept-Encoding": {"description": "RFC 9110, 15.5.16: `identity`, as bodies are taken uncoded", "schema": _TEXT},
    "Accept-Patch": {"description": "RFC 5789: the media types that a patch may have", "schema": _TEXT},
    "Cache-Control": {"description": "Who may keep the answer, and how; absent after a change", "schema": _TEXT},
    "Cache-Status": {"description": "RFC 9211: what each tier of the cache did", "schema": _TEXT},
    "Content-Security-Policy": {"description": "Nothing in the picture may load anything", "schema": _TEXT},
    "ETag": {"description": "Names this state of the resource, for If-Match and If-None-Match", "schema": _TEXT},
    "Idempotency-Replayed": {
        "description": "Present if the answer was remembered under the Idempotency-Key",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Link": {"description": 'RFC 8288: rel="next" leads to the following page; absent on the last', "schema": _TEXT},
    "Location": {"description": "The address of what was created", "schema": _TEXT},
    "Retry-After": {"description": "Seconds after which it is worth trying again", "schema": _SECONDS},
    "WWW-Authenticate": {"description": "RFC 6750: how to authenticate", "schema": _TEXT},
    "X-Content-Type-Options": {"description": "The picture is nothing but a picture", "schema": _TEXT},
}
"""Every header field that a response may have, for `sends`."""

_OF_EVERY_RESPONSE = ("X-Request-Id", "X-Served-By", "Cache-Control")
_OF_STATUS = {
    401: ("WWW-Authenticate",),
    415: ("Accept", "Accept-Encoding"),
    429: ("Retry-After",),
    503: ("Retry-After",),
    504: ("Retry-After",),
}
_BOUNDS = {"ge": "minimum", "le": "maximum"}
"""pydantic's names of bounds behind a validator, and JSON Schema's."""

_REMEMBERED = {200, 201, 204, 404, 409, 412, 422}
"""Statuses of answers that may be repeated for a key."""

_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "Required if the gateway checks access tokens. The services ignore it.",
}

_FOR_ALL = """

Every error is a `Problem` (RFC 9457). Every GET answers HEAD as well, without a body. Any other method is 405, with
`Allow`. Query parameters that are not listed here are refused (422)."""


def sends(*fields: str) -> Node:
    """The header fields of a response, for the `responses=` of a route, without those that every response has."""
    return {"headers": {field: _reference("headers", field) for field in fields}}


def for_generators(document: Node, *, problem: type[BaseModel]) -> Node:
    """Change FastAPI's document in place. Every error then refers to the component `Problem`, made of `problem`."""
    info = document["info"]
    info["description"] = info.get("description", "") + _FOR_ALL
    document["servers"] = [{"url": "/", "description": "The gateway that this document came from"}]
    document["security"] = [{}, {"token": []}]
    components = document.setdefault("components", {})
    components["securitySchemes"] = {"token": _TOKEN}
    components.setdefault("schemas", {}).update(_problem_schemas(problem))
    components["schemas"].pop(problem.__name__, None)
    for path in document["paths"].values():
        # A generator would make a second function for each GET, and it would return nothing.
        path.pop("head", None)
    for operation in operations(document):
        _mend_what_is_sent(operation)
        _declare_headers(operation)
    components["headers"] = {name: copy.deepcopy(HEADERS[name]) for name in sorted(_sent(document))}
    of_the_class = _reference("schemas", problem.__name__)
    for schema in schemas(document):
        _make_exact(schema)
        if schema == of_the_class:
            schema.update(_reference("schemas", "Problem"))
    components["schemas"] = dict(sorted(components["schemas"].items()))
    components["responses"] = _shared_responses(document)
    for operation in operations(document):
        operation["responses"] = dict(sorted(operation["responses"].items()))
    return document


def operations(document: Node) -> list[Node]:
    """The operations of all paths."""
    return [operation for path in document["paths"].values() for operation in path.values()]


def schemas(node: Any) -> Iterator[Node]:
    """All schemas below the node, nested ones included. Examples are left out, because they may look like schemas."""
    if isinstance(node, list):
        for each in node:
            yield from schemas(each)
    elif isinstance(node, dict):
        for key, value in node.items():
            match key:
                case "schema":
                    yield from _nested(value)
                case "schemas":
                    for schema in value.values():
                        yield from _nested(schema)
                case "example" | "examples":
                    pass
                case _:
                    yield from schemas(value)


def _nested(schema: Node) -> Iterator[Node]:
    yield schema
    for key in ("properties", "$defs"):
        for each in schema.get(key, {}).values():
            yield from _nested(each)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for each in schema.get(key, ()):
            yield from _nested(each)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _nested(schema[key])


def _problem_schemas(problem: type[BaseModel]) -> Node:
    """Members with a default are optional. pydantic marks them so only in requests. The default itself is removed."""
    schema = problem.model_json_schema(mode="validation", ref_template="#/components/schemas/{model}")
    for member in schema["properties"].values():
        member.pop("default", None)
    return {**schema.pop("$defs", {}), "Problem": {**schema, "title": "Problem"}}


def _mend_what_is_sent(operation: Node) -> None:
    contents = operation.get("requestBody", {}).get("content", {}).values()
    for holder in (*operation.get("parameters", ()), *contents):
        # A query cannot contain null: a parameter is left out instead.
        schema = holder["schema"]
        given = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
        if len(given) == 1:
            del schema["anyOf"]
            holder["schema"] = given[0] | schema
        if "description" in holder:
            holder["schema"].pop("description", None)
        if holder.get("in") == "header":
            holder["name"] = holder["name"].title()


def _declare_headers(operation: Node) -> None:
    repeatable = any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    for status, response in operation["responses"].items():
        code = int(status)
        names = {*_OF_EVERY_RESPONSE, *_OF_STATUS.get(code, ()), *response.get("headers", ())}
        if repeatable and code in _REMEMBERED:
            names.add("Idempotency-Replayed")
        if code == http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE and MERGE_PATCH in operation["requestBody"]["content"]:
            names.add("Accept-Patch")
        response.update(sends(*sorted(names)))


def _sent(document: Node) -> set[str]:
    responses = [response for each in operations(document) for response in each["responses"].values()]
    return {name for response in responses for name in response["headers"]}


def _make_exact(schema: Node) -> None:
    # pydantic makes titles from names, and generators would name types after them.
    schema.pop("title", None)
    for member in schema.get("properties", {}).values():
        if "default" in member:
            # Some generators require members that have a default.
            said = f"{member['description']}; " if "description" in member else ""
            member["description"] = f"{said}{json.dumps(member.pop('default'))} if left out"
    for name, keyword in _BOUNDS.items():
        if name in schema:
            schema[keyword] = schema.pop(name)
    if schema.get("type") != "integer":
        return
    # FastAPI turns bounds into floats, and no float is 2^63 - 1.
    for bound in ("minimum", "maximum"):
        if bound in schema:
            schema[bound] = max(INT64_MIN, min(int(schema[bound]), INT64_MAX))
    small = schema.get("minimum", INT64_MIN) >= -INT32_MAX - 1 and schema.get("maximum", INT64_MAX) <= INT32_MAX
    schema.setdefault("format", "int32" if small else "int64")


def _shared_responses(document: Node) -> Node:
    """Name the errors that all operations share. The operations then refer to them."""
    shared = {}
    every = [operation["responses"] for operation in operations(document)]
    for status, first in list(every[0].items()) if every else []:
        if int(status) >= http.HTTPStatus.BAD_REQUEST and all(each.get(status) == first for each in every):
            name = "".join(word.capitalize() for word in http.HTTPStatus(int(status)).phrase.split())
            shared[name] = first
            for each in every:
                each[status] = _reference("responses", name)
    return shared


def _reference(kind: str, name: str) -> Node:
    return {"$ref": f"#/components/{kind}/{name}"}
