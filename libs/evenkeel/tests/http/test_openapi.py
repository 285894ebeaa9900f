"""What is changed in FastAPI's document, and what is added to it."""

from typing import Annotated, Any, Literal

import pytest
from fastapi import FastAPI, Header, Query
from pydantic import BaseModel, BeforeValidator, Field

from evenkeel.http import openapi, problems
from evenkeel.http.bodies import takes_merge_patch
from evenkeel.http.openapi import INT64_MAX, INT64_MIN, for_generators, sends
from evenkeel.http.problems import NotFound, ProblemDocument, Unavailable

REFERENCE = {"$ref": "#/components/schemas/Problem"}
POUR = {"$ref": "#/components/schemas/Pour"}


class Teapot(ProblemDocument):
    size: int = Field(1, ge=1, le=9, description="Of the pot")


class Pour(BaseModel):
    cups: Annotated[int, Field(ge=INT64_MIN, le=INT64_MAX)] = 1
    milk: bool | None = Field(None, description="With milk")
    sugar: Literal["white", "brown"] = Field("white", description="Which sugar")


class Poured(BaseModel):
    total: int


Key = Annotated[str | None, Header(alias="idempotency-key", description="Poured once")]
Spoons = Annotated[int, BeforeValidator(int), Field(ge=1, le=5)]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    app = FastAPI(title="tea", description="Tea.", responses=problems.responses(Unavailable))

    @app.get("/pots", responses={200: sends("ETag")})
    @app.head("/pots")
    async def read_pots(spoons: Annotated[Spoons | None, Query(description="How many")] = None) -> Poured:
        raise NotImplementedError

    @app.post(
        "/pots",
        responses=problems.responses(NotFound) | {415: {"description": "no tea"}},
        openapi_extra=takes_merge_patch(Pour),
    )
    async def pour_tea(pour: Pour | None = None, key: Key = None) -> Poured:
        raise NotImplementedError

    return for_generators(app.openapi(), problem=Teapot)


def _operation(document: dict[str, Any], method: str) -> Any:
    return document["paths"]["/pots"][method]


def _fields(document: dict[str, Any], method: str, status: str) -> list[str]:
    return list(_operation(document, method)["responses"][status]["headers"])


def test_a_parameter_is_there_or_not(document: dict[str, Any]) -> None:
    assert _operation(document, "get")["parameters"] == [
        {
            "name": "spoons",
            "in": "query",
            "required": False,
            "description": "How many",
            "schema": {"type": "integer", "minimum": 1, "maximum": 5, "format": "int32"},
        }
    ]
    assert _operation(document, "post")["parameters"] == [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "Poured once",
            "schema": {"type": "string"},
        }
    ]


def test_a_body_is_there_or_not_whatever_its_media_type(document: dict[str, Any]) -> None:
    body = {"schema": POUR}
    assert _operation(document, "post")["requestBody"] == {
        "content": {"application/json": body, "application/merge-patch+json": body}
    }


def test_members_are_exact_and_none_must_be_sent_that_may_be_left_out(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]["Pour"] == {
        "type": "object",
        "properties": {
            "cups": {
                "type": "integer",
                "format": "int64",
                "minimum": INT64_MIN,
                "maximum": INT64_MAX,
                "description": "1 if left out",
            },
            "milk": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "description": "With milk"},
            "sugar": {
                "type": "string",
                "enum": ["white", "brown"],
                "description": 'Which sugar; "white" if left out',
            },
        },
    }
    assert document["components"]["schemas"]["Poured"]["properties"] == {
        "total": {"type": "integer", "format": "int64"}
    }


def test_every_error_is_the_services_own_problem(document: dict[str, Any]) -> None:
    problem = document["components"]["schemas"]["Problem"]
    assert problem["required"] == ["type", "title", "status", "detail"]
    assert problem["properties"]["errors"]["items"] == {"$ref": "#/components/schemas/Mistake"}
    assert problem["properties"]["size"] == {
        "type": "integer",
        "format": "int32",
        "minimum": 1,
        "maximum": 9,
        "description": "Of the pot",
    }
    answer = _operation(document, "post")["responses"]["404"]
    assert answer["content"]["application/problem+json"]["schema"] == REFERENCE


def test_header_fields(document: dict[str, Any]) -> None:
    assert _fields(document, "get", "200") == ["Cache-Control", "ETag", "X-Request-Id", "X-Served-By"]
    assert _fields(document, "post", "200") == [
        *("Cache-Control", "Idempotency-Replayed", "X-Request-Id", "X-Served-By"),
    ]
    assert _fields(document, "post", "404") == [
        *("Cache-Control", "Idempotency-Replayed", "X-Request-Id", "X-Served-By"),
    ]
    assert _fields(document, "post", "415") == [
        *("Accept", "Accept-Encoding", "Accept-Patch", "Cache-Control", "X-Request-Id", "X-Served-By"),
    ]
    used = {name for method in ("get", "post") for name in _fields(document, method, "200")}
    assert used < document["components"]["headers"].keys() < openapi.HEADERS.keys()


def test_what_all_operations_answer_alike_is_written_once(document: dict[str, Any]) -> None:
    for method in ("get", "post"):
        shared = _operation(document, method)["responses"]["503"]
        assert shared == {"$ref": "#/components/responses/ServiceUnavailable"}
    assert document["components"]["responses"].keys() == {"ServiceUnavailable"}
    assert "Retry-After" in document["components"]["responses"]["ServiceUnavailable"]["headers"]


def test_head_is_left_out(document: dict[str, Any]) -> None:
    assert list(document["paths"]["/pots"]) == ["get", "post"]


def test_what_holds_for_the_whole_document(document: dict[str, Any]) -> None:
    assert document["info"]["description"].startswith("Tea.\n\nEvery error is a `Problem`")
    assert document["security"] == [{}, {"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
