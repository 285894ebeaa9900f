"""Both OpenAPI documents keep redocly's `recommended` rules, and those that generators of clients need."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from tests.support.problems import OF_EVERY_OPERATION

import counter_api.main
import counter_api.settings
import user_api.main
import user_api.settings
from evenkeel.http.openapi import INT64_MAX, INT64_MIN, operations, schemas

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Document = dict[str, Any]

APPLICATIONS: dict[str, Callable[[], FastAPI]] = {
    "user-api": lambda: user_api.main.create_app(
        user_api.settings.Settings.model_validate({"database_url": "postgresql://u:p@127.0.0.1:1/x", "cache_tiers": ""})
    ),
    "counter-api": lambda: counter_api.main.create_app(
        counter_api.settings.Settings.model_validate({"store": "memory"})
    ),
}

# JSON Schema 2020-12, as far as the documents use it.
KEYWORDS = {
    *("$ref", "type", "format", "enum", "anyOf", "default", "description", "examples"),
    *("properties", "required", "additionalProperties", "items"),
    *("minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems"),
}
RANGES = {"int32": range(-(2**31), 2**31), "int64": range(INT64_MIN, INT64_MAX + 1)}
PROBLEM = {"$ref": "#/components/schemas/Problem"}

pytestmark = [
    pytest.mark.parametrize("document", APPLICATIONS, indirect=True),
    # What checks the documents takes a worker seconds to import.
    pytest.mark.xdist_group("openapi documents"),
]


@cache
def _document(service: str) -> Document:
    return APPLICATIONS[service]().openapi()


@pytest.fixture
def document(request: pytest.FixtureRequest) -> Document:
    return _document(request.param)


def _named(document: Document) -> Iterator[tuple[str, Document]]:
    """Every operation, with a name for it in errors."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _schema_validator(schema: Document) -> "Draft202012Validator":
    from jsonschema import Draft202012Validator  # noqa: PLC0415 (at the top it costs each worker 3 s)

    return Draft202012Validator(schema)


def _resolved(document: Document, node: Document) -> Document:
    while "$ref" in node:
        _, _, kind, name = node["$ref"].split("/")
        node = document["components"][kind][name]
    return node


def _answers(document: Document) -> Iterator[tuple[str, int, Document]]:
    for name, operation in _named(document):
        for status, answer in operation["responses"].items():
            yield name, int(status), _resolved(document, answer)


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_the_document_is_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    from openapi_spec_validator import OpenAPIV31SpecValidator  # noqa: PLC0415 (as `_schema_validator`)

    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_who_may_use_it_and_where_it_is(document: Document) -> None:
    assert document["info"]["license"] == {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
    assert [server["url"] for server in document["servers"]] == ["/"]


def test_operation_ids_are_names_of_functions(document: Document) -> None:
    names = [operation["operationId"] for operation in operations(document)]
    for name in names:
        # A verb and its object. A client may have the functions of both services in one module.
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
    every = [operation["operationId"] for each in APPLICATIONS for operation in operations(_document(each))]
    assert [name for name in names if every.count(name) > 1] == []


def test_every_operation_is_described(document: Document) -> None:
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    used = {tag for operation in operations(document) for tag in operation["tags"]}
    assert used == described
    for name, operation in _named(document):
        assert operation["summary"], name
        assert re.search("[A-Z]", name.partition(" ")[2]) is None, name
        assert all(parameter.get("schema") for parameter in operation.get("parameters", ())), name
        statuses = {int(status) // 100 for status in operation["responses"]}
        assert {2, 4, 5} <= statuses, name


def test_head_is_left_out(document: Document) -> None:
    """A generated client has no use for HEAD. It gets the fields from the GET."""
    assert [path for path, methods in document["paths"].items() if "head" in methods] == []


def test_path_parameters_are_those_of_the_path(document: Document) -> None:
    for name, operation in _named(document):
        declared = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", name)), name


def test_components_are_used_and_known(document: Document) -> None:
    components = document["components"]
    known = {f"#/components/{kind}/{name}" for kind in components for name in components[kind]}
    used = set(_references(document)) | {"#/components/securitySchemes/token"}
    assert used == known


def test_schemas_say_what_json_schema_knows(document: Document) -> None:
    for schema in schemas(document):
        assert schema.keys() <= KEYWORDS, schema
        _schema_validator(schema).check_schema(schema)


def test_a_member_that_may_be_left_out_has_no_default(document: Document) -> None:
    """openapi-typescript makes such a member a required one."""
    for schema in schemas(document):
        assert not [name for name, member in schema.get("properties", {}).items() if "default" in member]


def test_integers_have_a_format_and_bounds_that_fit(document: Document) -> None:
    for schema in schemas(document):
        if schema.get("type") != "integer":
            continue
        fits = RANGES[schema["format"]]
        for bound in {"minimum", "maximum", "default"} & schema.keys():
            assert isinstance(schema[bound], int), schema
            assert schema[bound] in fits, schema


def test_nothing_that_is_sent_may_be_null_in_a_parameter(document: Document) -> None:
    for name, operation in _named(document):
        bodies = operation.get("requestBody", {}).get("content", {}).values()
        for each in (*operation.get("parameters", ()), *bodies):
            assert {"type": "null"} not in each["schema"].get("anyOf", ()), name


def test_every_error_is_the_same_type(document: Document) -> None:
    for name, status, answer in _answers(document):
        if status >= 400:
            assert list(answer["content"]) == ["application/problem+json"], (name, status)
            assert answer["content"]["application/problem+json"]["schema"] == PROBLEM, (name, status)
    for name, operation in _named(document):
        assert operation["responses"].keys() >= OF_EVERY_OPERATION, name
        if "requestBody" in operation:
            assert {"415", "422"} <= operation["responses"].keys(), name


def test_bodies_are_named(document: Document) -> None:
    """Generators invent a name for a schema without one, and another name in each place."""
    for name, operation in _named(document):
        contents = [operation["requestBody"]] if "requestBody" in operation else []
        contents += [_resolved(document, answer) for answer in operation["responses"].values()]
        for content in contents:
            for schema in schemas(content.get("content", {})):
                assert "properties" not in schema, name
    for schema in document["components"]["schemas"].values():
        assert all("properties" not in nested for member in _members(schema) for nested in schemas(member))


def _members(schema: Document) -> Iterator[Document]:
    for member in schema.get("properties", {}).values():
        yield {"schema": member}


def test_every_header_field_is_declared(document: Document) -> None:
    needed = {401: {"WWW-Authenticate"}, 429: {"Retry-After"}, 503: {"Retry-After"}, 504: {"Retry-After"}}
    for name, status, answer in _answers(document):
        declared = answer["headers"].keys()
        assert {"X-Request-Id", "X-Served-By"} <= declared, (name, status)
        assert needed.get(status, set()) <= declared, (name, status)
    for name, operation in _named(document):
        sent = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "header"}
        for status in {"200", "201", "204"} & operation["responses"].keys():
            declared = operation["responses"][status]["headers"].keys()
            assert ("Idempotency-Key" in sent) == ("Idempotency-Replayed" in declared), name
            if status == "201":
                assert "ETag" in declared, name
        if name.startswith("GET") and "If-None-Match" in sent:
            assert "ETag" in operation["responses"]["200"]["headers"], name
            assert "ETag" in operation["responses"]["304"]["headers"], name


def test_examples_are_valid(document: Document) -> None:
    for schema in schemas(document):
        validator = _schema_validator(schema | {"components": document["components"]})
        for example in schema.get("examples", ()):
            assert list(validator.iter_errors(example)) == []
    for _, _, answer in _answers(document):
        for content in answer.get("content", {}).values():
            validator = _schema_validator(content["schema"] | {"components": document["components"]})
            examples = [each["value"] for each in content.get("examples", {}).values()]
            for example in [*examples, *([content["example"]] if "example" in content else [])]:
                assert list(validator.iter_errors(example)) == []
