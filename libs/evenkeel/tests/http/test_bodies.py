"""Which bodies are taken, and what is answered to others."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, ConfigDict
from tests.support.serving import serving

from evenkeel.http import problems
from evenkeel.http.bodies import StrictBody, takes_merge_patch

pytestmark = pytest.mark.anyio

JSON = "application/json"
NDJSON = "application/x-ndjson"


class Number(BaseModel):
    model_config = ConfigDict(extra="forbid")

    value: int = 0
    name: str = ""


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app, router = FastAPI(), APIRouter(route_class=StrictBody)
    problems.install(app)

    @router.put("/number")
    @router.post("/number")
    async def put(number: Number) -> Number:
        return number

    @router.patch("/number", openapi_extra=takes_merge_patch(Number))
    async def patch(number: Number) -> Number:
        return number

    @router.post("/optional")
    async def optional(number: Number | None = None) -> Number | None:
        return number

    @router.post("/lines", openapi_extra={"requestBody": {"content": {NDJSON: {}}}})
    async def lines(request: Request) -> int:
        return len([chunk async for chunk in request.stream() if chunk])

    @router.delete("/number")
    async def delete() -> None: ...

    app.include_router(router, prefix="/v1")
    async with serving(app) as client:
        yield client


def told(response: httpx.Response) -> tuple[int, str]:
    document = response.json()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert document["status"] == response.status_code
    return response.status_code, document["type"].rpartition(":")[2]


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("PUT", "/v1/number", JSON),
        ("POST", "/v1/optional", "Application/JSON ; charset=UTF-8"),
        ("PUT", "/v1/number", 'application/json;charset="utf-8"'),
        ("PATCH", "/v1/number", JSON),
        ("PATCH", "/v1/number", "application/merge-patch+json"),
        ("POST", "/v1/lines", NDJSON),
        ("POST", "/v1/lines", f"{NDJSON}; charset=utf-8"),
    ],
)
async def test_taken(client: httpx.AsyncClient, method: str, path: str, content_type: str) -> None:
    for coding in ({}, {"Content-Encoding": "identity"}):
        headers = {"Content-Type": content_type} | coding
        assert (await client.request(method, path, content=b'{"value":1}', headers=headers)).status_code == 200


async def test_without_a_body_no_type_is_needed(client: httpx.AsyncClient) -> None:
    for headers in ({}, {"Content-Length": "0"}, {"Content-Type": "text/plain"}):
        response = await client.post("/v1/optional", headers=headers)
        assert (response.status_code, response.json()) == (200, None)
    assert told(await client.put("/v1/number")) == (422, "validation")
    assert (await client.delete("/v1/number")).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/problem+json",
        "application/merge-patch+json",
        "application/jsonp",
        "application/json, text/plain",
        "json",
        "*/*",
        "application/*",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_other_types(client: httpx.AsyncClient, content_type: str, *, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"value":1}'

    for method, path, taken in (
        ("PUT", "/v1/number", JSON),
        ("POST", "/v1/number", JSON),
        ("POST", "/v1/optional", JSON),
        ("POST", "/v1/lines", NDJSON),
    ):
        headers = {"Content-Type": content_type} if content_type else {}
        content = chunks() if chunked else b'{"value":1}'
        response = await client.request(method, path, content=content, headers=headers)
        assert told(response) == (415, "unsupported-media-type")
        assert response.headers["Accept"] == taken
        assert "Accept-Patch" not in response.headers


async def test_patch_says_what_it_takes(client: httpx.AsyncClient) -> None:
    response = await client.patch("/v1/number", content=b"{}", headers={"Content-Type": "application/json-patch+json"})
    assert told(response) == (415, "unsupported-media-type")
    assert response.headers["Accept-Patch"] == "application/json, application/merge-patch+json"


@pytest.mark.parametrize("coding", ["gzip", "br", "x", "identity, gzip"])
async def test_coded(client: httpx.AsyncClient, coding: str) -> None:
    for path, taken in (("/v1/optional", JSON), ("/v1/lines", NDJSON)):
        headers = {"Content-Type": taken, "Content-Encoding": coding}
        response = await client.post(path, content=b"{}", headers=headers)
        assert told(response) == (415, "unsupported-media-type")
        assert response.headers["Accept-Encoding"] == "identity"


async def test_unknown_address_and_method_come_first(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "text/plain"}
    assert told(await client.post("/v1/nothing", content=b"x", headers=headers)) == (404, "not-found")
    assert told(await client.put("/v1/lines", content=b"x", headers=headers)) == (405, "method-not-allowed")


@pytest.mark.parametrize(
    "content",
    [
        '{"value":1}'.encode("utf-16"),
        '{"value":1}'.encode("utf-16-le"),
        '{"value":1}'.encode("utf-16-be"),
        '{"value":1}'.encode("utf-32"),
        b'{"name":"\xff"}',
        b'{"name":"\xed\xa0\x80"}',
        b"[" * 60_000,
    ],
    ids=["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "surrogate", "deep"],
)
async def test_not_json_in_utf_8(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.put("/v1/number", content=content, headers={"Content-Type": JSON})
    assert told(response) == (422, "malformed-json")


async def test_byte_order_mark_of_utf_8(client: httpx.AsyncClient) -> None:
    content = b"\xef\xbb\xbf" + '{"name":"é"}'.encode()
    response = await client.put("/v1/number", content=content, headers={"Content-Type": JSON})
    assert response.json() == {"value": 0, "name": "é"}


@pytest.mark.parametrize("sign", ["", "-"])
async def test_integers_of_any_length_are_named(client: httpx.AsyncClient, sign: str) -> None:
    for digits in ("9" * 4000, "9" * 4300, "9" * 4301, "9" * 5000, "1" + "0" * 60_000):
        content = f'{{"value":{sign}{digits}}}'.encode()
        response = await client.put("/v1/number", content=content, headers={"Content-Type": JSON})
        assert response.status_code in ({200, 422} if len(digits) == 4000 else {422})
        if response.status_code == 422:
            [error] = response.json()["errors"]
            assert (error["in"], error["field"]) == ("body", "value")


async def test_answers_are_not_much_larger_than_what_was_asked(client: httpx.AsyncClient) -> None:
    members = {f"x{n}": 1 for n in range(6000)}
    response = await client.put("/v1/number", json=members)
    document: dict[str, Any] = response.json()
    assert told(response) == (422, "validation")
    assert (len(document["errors"]), document["more_errors"]) == (20, 5980)
    assert document["detail"].endswith("; and 5997 more.")
    assert len(response.content) < 3000
    response = await client.put("/v1/number", json={"x" * 60_000: 1})
    assert told(response) == (422, "validation")
    assert len(response.content) < 1000


async def test_document_says_what_is_taken(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    content = paths["/v1/number"]["patch"]["requestBody"]["content"]
    assert content == dict.fromkeys((JSON, "application/merge-patch+json"), content[JSON])
    assert list(paths["/v1/lines"]["post"]["requestBody"]["content"]) == [NDJSON]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"value":1,"value":2}', "value"),
        (b'{"value":1,"value":1}', "value"),
        (b'{"name":"a","value":1,"n\\u0061me":"b"}', "name"),
        (b'{"value":1,"name":{"x":[{"y":1,"y":1}]}}', "y"),
        (b'{"\\u0000":1,"\\u0000":1}', "\N{REPLACEMENT CHARACTER}"),
        (b'{"%b":1,"%b":1}' % (b"x" * 1000, b"x" * 1000), f"{'x' * 100}…"),
    ],
)
async def test_a_member_named_twice(client: httpx.AsyncClient, body: bytes, field: str) -> None:
    for method, path in (("PUT", "/v1/number"), ("POST", "/v1/optional"), ("PATCH", "/v1/number")):
        response = await client.request(method, path, content=body, headers={"Content-Type": JSON})
        assert told(response) == (422, "validation")
        assert response.json()["errors"] == [{"in": "body", "field": field, "detail": "sent more than once"}]
