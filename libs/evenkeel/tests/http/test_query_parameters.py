"""Query parameters of a route that knows some, and of one that knows none."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict

from evenkeel.http import problems
from evenkeel.http.query_parameters import StrictQuery, plain_decimal

pytestmark = pytest.mark.anyio


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, BeforeValidator(plain_decimal)] = 10
    ids: list[str] = []


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(dependencies=[Depends(StrictQuery(lists=frozenset({"ids"})))])
    problems.install(app)

    @app.get("/some")
    async def some(query: Annotated[Parameters, Query()]) -> dict[str, Any]:
        return query.model_dump()

    @app.get("/none")
    async def none() -> str:
        return "none"

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_what_is_known_passes(client: httpx.AsyncClient) -> None:
    assert (await client.get("/some?ids=a&ids=b&limit=007")).json() == {"limit": 7, "ids": ["a", "b"]}
    for query in ("", "?", "?&"):
        assert (await client.get(f"/none{query}")).json() == "none"
        assert (await client.get(f"/some{query}")).json() == {"limit": 10, "ids": []}


async def test_what_is_not_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.get("/none?b&a=1&%00=&d=&c=")
    assert (answer.status_code, answer.json()["detail"]) == (422, "This address takes no query parameters.")
    assert [error["field"] for error in answer.json()["errors"]] == ["\\x00", "a", "b"]
    answer = await client.get("/some?limit=1&limit=1")
    assert answer.json()["errors"] == [{"in": "query", "field": "limit", "detail": "sent more than once"}]
    for query in ("x=1", "x", "ids=a&x=1"):
        assert (await client.get(f"/some?{query}")).status_code == 422, query


@pytest.mark.parametrize("number", ["", "x", "1_0", "%2B1", "+1", "1%20", "-1", "1.0", "%D9%A3", "9" * 5000])
async def test_what_is_no_plain_number(client: httpx.AsyncClient, number: str) -> None:
    assert (await client.get(f"/some?limit={number}")).status_code == 422
