"""Errors as RFC 9457 problem documents.

A domain error is a subclass of `Problem` that names its type, title and status once; raising it anywhere below a
route answers it. What FastAPI and Starlette raise themselves (validation, unknown routes, wrong methods) is answered
in the same form, so that a client needs one error parser.
"""

import http
import json
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:evenkeel:problem:"


class Problem(Exception):
    """An answer other than success; `slug` is the stable end of its type.

    `detail` is one sentence for a person. Keyword arguments become further members of the document.
    """

    slug: ClassVar[str]
    title: ClassVar[str]
    status: ClassVar[int]

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def document(self) -> dict[str, Any]:
        """The members of the problem document, ready for JSON."""
        return problem_document(self.slug, self.title, self.status, self.detail) | self.members

    def response(self) -> Response:
        return problem_response(self.document(), self.headers)


class InvalidInput(Problem):
    """The request is understood but breaks a rule; `errors` names each place."""

    slug, title, status = "validation", "The request is not valid", 422


class MalformedJson(Problem):
    slug, title, status = "malformed-json", "The body is not JSON", 422


class NotFound(Problem):
    slug, title, status = "not-found", "There is nothing at this address", 404


class PreconditionFailed(Problem):
    """`If-Match` names another version than the current one (RFC 9110, 13.1.1)."""

    slug, title, status = "precondition-failed", "The resource is not in the state you named", 412


class Unavailable(Problem):
    """A server that this service needs does not answer; `retry_after` is in seconds."""

    slug, title, status = "unavailable", "The service cannot answer now", 503

    def __init__(self, detail: str, *, retry_after: int = 1, **members: Any) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, **members)


class NotReady(Unavailable):
    slug, title = "not-ready", "This replica is not ready"


class InternalError(Problem):
    slug, title, status = "internal-error", "Something went wrong on our side", 500


class MethodNotAllowed(Problem):
    slug, title, status = "method-not-allowed", "This address does not have that method", 405


class ContentTooLarge(Problem):
    slug, title, status = "content-too-large", "The body is larger than this service accepts", 413


class UnsupportedMediaType(Problem):
    """RFC 9110, 15.5.16: the body has another type or character set, or a coding."""

    slug, title, status = "unsupported-media-type", "The media type of the body is not supported", 415


class Mistake(BaseModel):
    """One place in a request that breaks a rule."""

    place: str = Field(alias="in", description="`path`, `query`, `header` or `body`", examples=["body"])
    field: str = Field(description="Its name there; empty for all of it", examples=["email"])
    detail: str = Field(description="What is wrong with it, for a person")


class ProblemDocument(BaseModel):
    """RFC 9457 problem details, as the OpenAPI documents show them.

    A service's own subclass adds the members of its problems, all optional. So one type covers every error.
    """

    type: str = Field(examples=[TYPE_PREFIX + "not-found"], description="Stable name of the kind of problem")
    title: str = Field(description="What the kind of problem is, the same for every occurrence")
    status: int = Field(ge=400, le=599, description="The HTTP status")
    detail: str = Field(description="What happened this time, for a person")
    errors: list[Mistake] = Field([], description="Of `validation`: the places that break a rule")
    more_errors: int = Field(0, ge=1, description="How many further ones there are")


OF_A_BODY: tuple[type[Problem], ...] = (ContentTooLarge, UnsupportedMediaType, InvalidInput, MalformedJson)
"""Problems that a route may answer because it takes a body."""


def responses(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that answers these problems."""
    documented: dict[int | str, dict[str, Any]] = {}
    for problem in problems:
        entry = documented.setdefault(
            problem.status, {"description": "", "content": {MEDIA_TYPE: {"schema": SCHEMA, "examples": {}}}}
        )
        entry["description"] = " · ".join(filter(None, [entry["description"], f"`{problem.slug}`: {problem.title}"]))
        example = problem_document(problem.slug, problem.title, problem.status, problem.title + ".")
        entry["content"][MEDIA_TYPE]["examples"][problem.slug] = {"value": example}
    return documented


SCHEMA = {"$ref": "#/components/schemas/Problem"}
"""The type of every error; `evenkeel.http.openapi` puts it into the document."""


def problem_document(slug: str, title: str, status: int, detail: str) -> dict[str, Any]:
    return {"type": TYPE_PREFIX + slug, "title": title, "status": status, "detail": detail}


def problem_response(document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        json.dumps(document, separators=(",", ":")),
        status_code=document["status"],
        # Caches may keep some of them (404, 405, 501) unless told otherwise (RFC 9111, 4.2.2).
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem document."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(Exception, _answer_unexpected)


async def _answer_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 (registered for this class only)
    return error.response()


_MOST_LISTED = 20
"""Most errors that an answer lists, so that it is not much larger than the request. `more_errors` counts the others."""

_MOST_IN_DETAIL = 3
"""Most errors in the sentence of `detail`."""

_LONGEST_NAME = 100
"""Characters of a field's name that an answer repeats; a name may be as long as the body."""


async def _answer_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this class only)
    failures = error.errors()
    if failures and failures[0]["type"] == "json_invalid":
        reason = failures[0].get("ctx", {}).get("error", "not JSON")
        at = failures[0]["loc"][-1]
        return MalformedJson(f"The body is not JSON: {reason} at character {at}.").response()
    if isinstance(error.body, bytes) and error.body:  # FastAPI decodes the body only where its type says JSON
        return MalformedJson("Send the body with Content-Type: application/json.").response()
    # The offending input is left out on purpose: it may be personal data, or not even be text.
    errors = [
        {
            "in": str(failure["loc"][0]),
            "field": printable(".".join(str(part) for part in failure["loc"][1:])),
            "detail": failure["msg"].removeprefix("Value error, "),
        }
        for failure in failures[:_MOST_LISTED]
    ]
    sentence = "; ".join(
        f"{' '.join(filter(None, [e['in'], e['field']]))}: {e['detail']}" for e in errors[:_MOST_IN_DETAIL]
    )
    if (others := len(failures) - _MOST_IN_DETAIL) > 0:
        sentence += f"; and {others} more"
    members: dict[str, Any] = {"errors": errors}
    if unlisted := len(failures) - len(errors):
        members["more_errors"] = unlisted
    return InvalidInput(f"{sentence}.", **members).response()


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (registered for this class only)
    headers = error.headers
    match error.status_code:
        case 400:  # raised by FastAPI alone, for a body that json.loads cannot even begin with
            return MalformedJson("The body is not JSON, or is nested too deeply.").response()
        case 404:
            return NotFound("There is nothing at this address.").response()
        case 405:
            allow = {"Allow": ", ".join(_methods(request))}
            return MethodNotAllowed("Use one of the methods that the Allow header lists.", headers=allow).response()
        case 413:
            return ContentTooLarge("Send a smaller body.", headers=headers).response()
        case status:
            phrase = http.HTTPStatus(status).phrase
            return problem_response(problem_document("http-error", phrase, status, f"{error.detail}"), headers)


def _methods(request: Request) -> list[str]:
    """All methods of this address. Starlette lists only the methods of the first route."""
    path = request.scope["path"]
    routes = (
        route for route in iter_route_contexts(request.app.routes) if route.methods and route.path_regex.match(path)
    )
    methods = {method for route in routes for method in route.methods or ()}
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods or {"GET", "HEAD"})  # mounted files have no route of their own


def unexpected() -> Response:
    """The answer to an unexpected error."""
    return InternalError("The request could not be completed; its id leads to the cause in the log.").response()


async def _answer_unexpected(_: Request, __: Exception) -> Response:
    # Starlette raises the error again after this answer, and the request context logs it with its request id.
    return unexpected()


def printable(text: str) -> str:
    """The text without control characters, which a terminal would execute, and cut to a reasonable length."""
    if len(text) > _LONGEST_NAME:
        text = f"{text[:_LONGEST_NAME]}…"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
