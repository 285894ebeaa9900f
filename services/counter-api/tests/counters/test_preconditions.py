"""Preconditions (RFC 9110, 13) over HTTP: none is ignored, by any method of any resource."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from tests.support.problems import problem

pytestmark = pytest.mark.anyio

A = "/v1/counters/a"
INCREMENT: tuple[str, str, Any] = ("POST", f"{A}/increment", None)
BOUNDED: tuple[str, str, Any] = ("POST", f"{A}/increment", {"max": 9, "ttl": 1000, "series": ["day"]})
PUT: tuple[str, str, Any] = ("PUT", A, {"value": 5})
DELETE: tuple[str, str, Any] = ("DELETE", A, None)
GET: tuple[str, str, Any] = ("GET", A, None)

# The rules of the RFC: what holds if the value is 4, and if there is no counter.
TABLE: list[tuple[str, dict[str, str], bool, bool]] = [
    ('13.1.1: "*" is true if there is a current representation', {"If-Match": "*"}, True, False),
    ("13.1.1: a list is true if it has the tag of the current one", {"If-Match": '"3", "4"'}, True, False),
    ("13.1.1: otherwise it is false", {"If-Match": '"3"'}, False, False),
    ("8.8.3.2: a weak tag is strongly equal to none", {"If-Match": 'W/"4"'}, False, False),
    ('13.1.2: "*" is false if there is a current representation', {"If-None-Match": "*"}, False, True),
    ("13.1.2: a list is false if it has the tag of the current one", {"If-None-Match": '"4"'}, False, True),
    ("13.1.2: by the weak comparison", {"If-None-Match": 'W/"4", "3"'}, False, True),
    ("13.1.2: otherwise it is true", {"If-None-Match": '"3", "4x", "04"'}, True, True),
    ("13.2.2: both are judged", {"If-Match": '"4"', "If-None-Match": '"4"'}, False, False),
    ("13.2.2: both are judged", {"If-Match": '"4"', "If-None-Match": '"5"'}, True, False),
    (
        "13.1.3, 13.1.4: dates are ignored, without Last-Modified",
        {"If-Modified-Since": "Sat, 29 Oct 2050 19:43:31 GMT", "If-Unmodified-Since": "Sat, 29 Oct 1994 19:43:31 GMT"},
        True,
        True,
    ),
]


@pytest.mark.parametrize(("sentence", "headers", "there", "absent"), TABLE, ids=lambda value: str(value)[:40])
async def test_counters(
    lasting: httpx.AsyncClient, sentence: str, headers: dict[str, str], *, there: bool, absent: bool
) -> None:
    for change in (INCREMENT, BOUNDED, PUT, DELETE):
        await lasting.delete(A)
        await lasting.put(A, json={"value": 4})
        response = await send(lasting, change, headers)
        if there:
            assert response.status_code < 300, (sentence, change, response.text)
        else:
            assert problem(response) == (412, "precondition-failed"), (sentence, change)
            assert response.json()["current"] == 4
            assert (await lasting.get(A)).json()["value"] == 4
        await lasting.delete(A)
        response = await send(lasting, change, headers)
        if change == DELETE:
            assert problem(response) == (404, "not-found"), sentence
        elif absent:
            assert response.status_code < 300, (sentence, change, response.text)
        else:
            assert problem(response) == (412, "precondition-failed"), (sentence, change)
            assert response.json()["current"] is None
            assert (await lasting.get(A)).status_code == 404


@pytest.mark.parametrize(("sentence", "headers", "there", "_absent"), TABLE, ids=lambda value: str(value)[:40])
async def test_reads(
    lasting: httpx.AsyncClient, sentence: str, headers: dict[str, str], *, there: bool, _absent: bool
) -> None:
    await lasting.delete(A)
    assert problem(await send(lasting, GET, headers)) == (404, "not-found"), sentence
    await lasting.put(A, json={"value": 4})
    response = await send(lasting, GET, headers)
    if there:
        assert (response.status_code, response.json()) == (200, {"name": "a", "value": 4}), sentence
    elif headers.get("If-Match", '"4"') == '"4"':
        # 13.2.2: if only If-None-Match is false, a read is 304.
        assert (response.status_code, response.content, response.headers["ETag"]) == (304, b"", '"4"'), sentence
    else:
        assert problem(response) == (412, "precondition-failed"), sentence


async def send(client: httpx.AsyncClient, change: tuple[str, str, Any], headers: dict[str, str]) -> httpx.Response:
    method, path, body = change
    if path.endswith(":import"):
        headers = headers | {"Content-Type": "application/x-ndjson"}
    return await client.request(method, path, headers=headers, **({} if body is None else {"json": body}))


async def test_their_order(client: httpx.AsyncClient) -> None:
    """404 comes before 412, and 412 before 409. A malformed precondition is 422, before all of them."""
    never, broken = {"If-Match": '"99"'}, {"If-Match": "99"}
    assert problem(await client.delete(A, headers=broken)) == (422, "validation")
    assert problem(await client.delete(A, headers=never)) == (404, "not-found")
    await client.put(A, json={"value": 4})
    assert problem(await client.delete(A, headers=never)) == (412, "precondition-failed")
    beyond = ("POST", f"{A}/increment", {"max": 4})
    assert problem(await send(client, beyond, never)) == (412, "precondition-failed")
    assert problem(await send(client, beyond, {"If-Match": '"4"'})) == (409, "counter-bound")


async def test_sentences(client: httpx.AsyncClient) -> None:
    async def sentence(**headers: str) -> str:
        answer = await client.post(f"{A}/increment", headers={k.replace("_", "-"): v for k, v in headers.items()})
        assert problem(answer) == (412, "precondition-failed")
        detail: str = answer.json()["detail"]
        return detail

    assert await sentence(If_Match="*") == "If-Match names a counter that does not exist."
    await client.put(A, json={"value": 4})
    assert await sentence(If_Match='"5"') == 'If-Match does not name the current value, "4".'
    assert await sentence(If_None_Match='"4"') == 'If-None-Match names the current value, "4".'
    there = 'If-None-Match requires that there is no such counter; its value is "4".'
    assert await sentence(If_None_Match="*") == there


async def test_of_many_who_increment_the_same_state_one_does(client: httpx.AsyncClient) -> None:
    await client.put(A, json={"value": 0})
    for value in range(3):
        attempts = [client.post(f"{A}/increment", headers={"If-Match": f'"{value}"'}) for _ in range(20)]
        statuses = sorted([answer.status_code for answer in await asyncio.gather(*attempts)])
        assert statuses == [200] + [412] * 19
    assert (await client.get(A)).json()["value"] == 3


UNTAGGED: list[tuple[str, str, Any]] = [
    ("GET", "/v1/counters", None),
    ("GET", f"{A}/series?unit=hour", None),
    ("GET", f"{A}/badge.svg", None),
    ("GET", "/v1/counters:export", None),
    ("GET", "/v1/uniques/u", None),
    ("GET", "/counter", None),
    ("GET", "/stats", None),
    ("GET", "/v1/fleet/counter-api", None),
    ("POST", "/v1/counters:batch", {"operations": [{"name": "a"}]}),
    ("POST", "/v1/counters:import", {"name": "a", "value": 1}),
    ("POST", "/v1/uniques/u", {"member": "x"}),
    ("DELETE", "/v1/uniques/u", None),
]
TAGGED = {("GET", A), ("PUT", A), ("DELETE", A), ("POST", f"{A}/increment")}


async def test_resources_without_tags(client: httpx.AsyncClient) -> None:
    """A write with a precondition is refused. A read whose If-Match names a tag is 412."""
    await client.post("/v1/uniques/u", json={"member": "m"})
    for method, path, body in UNTAGGED:
        for field in ("If-Match", "If-None-Match"):
            for tags in ("*", '"1"', 'W/"1"'):
                response = await send(client, (method, path, body), {field: tags})
                if method != "GET":
                    assert problem(response) == (422, "validation"), (path, field)
                    assert [error["field"] for error in response.json()["errors"]] == [field]
                elif field == "If-Match" and tags != "*":
                    assert problem(response) == (412, "precondition-failed"), (path, tags)
                else:
                    assert response.status_code == 200, (path, field, tags)
            if method == "GET":
                response = await send(client, (method, path, body), {field: "no tag"})
                assert problem(response) == (422, "validation"), (path, field)
    assert (await client.get("/v1/counters")).json() == {"data": []}
    assert (await client.get("/v1/uniques/u")).json()["value"] == 1
    # Refused increments counted nothing.
    assert (await client.get("/counter")).json() == {"current_count": 5}
    events = await client.get(f"{A}/events", headers={"If-Match": '"1"'})
    assert problem(events) == (412, "precondition-failed")


async def test_no_resource_is_overlooked(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    documented = {
        (method.upper(), re.sub("{name}", "u" if "uniques" in path else "a", path))
        for path, operations in document["paths"].items()
        for method in operations
    }
    tried = TAGGED | {(method, path.partition("?")[0]) for method, path, _ in UNTAGGED}
    assert tried == documented - {("GET", f"{A}/events"), ("GET", "/v1/fleet/counter-api/events")}
    for method, path in TAGGED:
        operation = document["paths"][path.replace("/a", "/{name}")][method.lower()]
        assert "412" in operation["responses"]
        assert {"if-match", "if-none-match"} <= {each["name"].lower() for each in operation["parameters"]}
