"""What surrounds the routes of every service."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.support.problems import problem
from tests.support.serving import serving

from evenkeel.http.problems import Problem
from evenkeel.service.application import create_application
from evenkeel.service.logs import JsonFormatter
from evenkeel.service.readiness import Readiness

pytestmark = pytest.mark.anyio


class Teapot(Problem):
    slug, title, status = "teapot", "No coffee here", 418


class Ahead:
    """A layer ahead of FastAPI, with one answer for everybody, as layers that save work have."""

    START: ClassVar = {"type": "http.response.start", "status": 200}
    BODY: ClassVar = {"type": "http.response.body", "body": b"!"}

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope.get("path"):
            case "/ahead":
                await send(self.START)
                await send(self.BODY)
            case "/ahead/boom":
                raise RuntimeError("the password is 1234")
            case _:
                await self._app(scope, receive, send)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    failing: dict[str, str] = {}

    async def check() -> None:
        if reason := failing.get("database"):
            raise OSError(reason)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"readiness": Readiness({"database": check})}

    app = create_application(
        title="test",
        description="",
        version="1",
        lifespan=lifespan,
        replica="r-1",
        registry=CollectorRegistry(),
        ahead=Ahead,
    )

    @app.get("/teapot/{size}")
    async def teapot(size: int) -> None:
        raise Teapot(f"{size} cups of tea.", headers={"X-Tea": "green"}, cups=size)

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("the password is 1234")

    @app.post("/fail")
    async def fail(reason: str) -> None:
        failing["database"] = reason

    async with serving(app) as client:
        yield client


async def test_problem_with_headers_and_members(client: httpx.AsyncClient) -> None:
    response = await client.get("/teapot/3")
    assert problem(response) == (418, "teapot")
    assert response.headers["X-Tea"] == "green"
    assert response.json() == {
        "type": "urn:evenkeel:problem:teapot",
        "title": "No coffee here",
        "status": 418,
        "detail": "3 cups of tea.",
        "cups": 3,
    }


async def test_layer_ahead_answers_within_the_request_context(client: httpx.AsyncClient) -> None:
    for request_id in ("one", "two"):
        response = await client.get("/ahead", headers={"X-Request-Id": request_id})
        assert response.content == b"!"
        assert response.headers.get_list("X-Request-Id") == [request_id]
        assert response.headers.get_list("X-Served-By") == ["r-1"]
    assert Ahead.START == {"type": "http.response.start", "status": 200}
    counted = 'http_requests_total{method="GET",route="unmatched",status="200"} 2.0'
    assert counted in (await client.get("/metrics")).text


async def test_every_request_has_an_id_of_its_own(client: httpx.AsyncClient) -> None:
    ids = {(await client.get("/ahead")).headers["X-Request-Id"] for _ in range(100)}
    assert len(ids) == 100
    assert {len(each) for each in ids} == {32}


@pytest.mark.parametrize("path", ["/boom", "/ahead/boom"])
async def test_unexpected_error_says_nothing_to_the_caller_and_all_to_the_log(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.handler.setFormatter(JsonFormatter("r-1"))
    response = await client.get(path, headers={"X-Request-Id": "id-of-this-one"})
    assert problem(response) == (500, "internal-error")
    assert "1234" not in response.text
    lines = map(json.loads, caplog.text.splitlines())
    logged = next(line for line in lines if line["message"] == "request failed")
    assert (logged["request_id"], logged["path"], logged["replica"]) == ("id-of-this-one", path, "r-1")
    assert "the password is 1234" in logged["traceback"]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "<script>"])
async def test_request_id_that_is_no_token_is_replaced(client: httpx.AsyncClient, sent: str) -> None:
    response = await client.get("/livez", headers={"X-Request-Id": sent})
    assert response.headers["X-Request-Id"] not in {"", sent}
    assert len(response.headers.get_list("X-Request-Id")) == 1


async def test_liveness_and_readiness(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")
    assert response.json() == {"status": "ready"}
    assert response.headers["x-envoy-upstream-healthchecked-cluster"] == "test", "the gateway checks the name"
    await client.post("/fail", params={"reason": "gone fishing"})
    response = await client.get("/readyz")
    assert problem(response) == (503, "not-ready")
    assert response.headers["Retry-After"] == "1"
    assert response.json()["checks"] == {"database": "gone fishing"}
    assert (await client.get("/livez")).json() == {"status": "alive"}


async def test_a_token_is_something_that_may_be_asked_for(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        document = (await client.get("/openapi.json")).json()
        assert document["security"] == [{}, {"token": []}]
        assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


async def test_every_route_documents_what_the_gateway_answers(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert operations
    for operation in operations:
        assert {"400", "401", "403", "408", "429", "431", "502", "504"} <= operation["responses"].keys()


async def test_metrics_by_route_template(client: httpx.AsyncClient) -> None:
    for path in ("/teapot/1", "/teapot/2", "/nothing/1", "/nothing/2"):
        await client.get(path)
    text = (await client.get("/metrics")).text
    assert 'http_requests_total{method="GET",route="/teapot/{size}",status="418"} 2.0' in text
    assert 'http_requests_total{method="GET",route="unmatched",status="404"} 2.0' in text
    assert "/nothing" not in text
    assert "_created" not in text


async def test_method_that_nobody_knows_makes_no_new_series(client: httpx.AsyncClient) -> None:
    for n in range(3):
        await client.request(f"NONSENSE{n}", "/livez")
    assert "NONSENSE" not in (await client.get("/metrics")).text


async def test_readiness_waits_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    failures = iter(["one", "two", "three"])

    async def check() -> None:
        if reason := next(failures, None):
            raise OSError(reason)

    with caplog.at_level(logging.INFO):
        await Readiness({"redis": check}).wait(first=0.001, longest=0.002)
    assert [vars(record).get("seconds") for record in caplog.records] == [0.001, 0.002, 0.002, None]
    assert vars(caplog.records[2])["checks"] == {"redis": "three"}
