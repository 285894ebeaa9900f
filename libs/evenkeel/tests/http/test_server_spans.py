"""The span of a request: in the caller's trace, without personal data, and never in the way."""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from tests.support import log_lines
from tests.support.serving import serving
from tests.support.spans import NOT_SAMPLED, PARENT, SAMPLED, TRACE, Spans, collected

from evenkeel.http.server_spans import ServerSpans
from evenkeel.service import telemetry
from evenkeel.service.application import create_application
from evenkeel.service.readiness import Readiness

pytestmark = pytest.mark.anyio

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}


@contextlib.asynccontextmanager
async def a_service() -> AsyncIterator[httpx.AsyncClient]:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        yield {"readiness": Readiness({})}

    app = create_application(
        title="test", description="", version="1", lifespan=lifespan, replica="r-1", registry=CollectorRegistry()
    )

    @app.get("/users/{name}")
    async def read(name: str) -> str:
        logging.getLogger("users").info("read")
        if name == "broken":
            raise ValueError("grace@example.com is broken")
        return name

    async with serving(app) as client:
        yield client


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[httpx.AsyncClient, Spans]]:
    with collected(monkeypatch) as spans:
        async with a_service() as client:
            yield client, spans


Service = tuple[httpx.AsyncClient, Spans]


async def test_a_span_continues_the_trace(service: Service) -> None:
    client, spans = service
    with log_lines.written() as lines:
        answer = await client.get("/users/grace@example.com?email=grace@example.com", headers=SAMPLED)
    span = spans.one("GET /users/{name}")
    assert (f"{span.context.trace_id:032x}", f"{span.parent and span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.kind.name == "SERVER"
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/users/{name}",
        "http.response.status_code": 200,
        "http.response.header.x-request-id": (answer.headers["X-Request-Id"],),
    }
    assert "grace" not in span.to_json()
    assert {"traceparent", "tracestate"}.isdisjoint(answer.headers)
    [line] = [line for line in lines.all if line["message"] == "read"]
    assert line["trace_id"] == TRACE


async def test_the_state_of_the_trace_is_kept(service: Service) -> None:
    client, spans = service
    await client.get("/users/1", headers=[*SAMPLED.items(), ("tracestate", "a=1"), ("tracestate", "b=2")])
    assert spans.one("GET /users/{name}").context.trace_state.to_header() == "a=1,b=2"


async def test_what_is_not_sampled_has_no_span_but_a_trace_id_in_its_log_lines(service: Service) -> None:
    client, spans = service
    with log_lines.written() as lines:
        assert (await client.get("/users/1", headers=NOT_SAMPLED)).status_code == 200
    assert spans.all == ()
    assert [line["trace_id"] for line in lines.all if line["message"] == "read"] == [TRACE]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("traceparent", "garbage")],
        [("traceparent", "")],
        [("traceparent", f"00-{TRACE}-{PARENT}-01-more")],
        [("traceparent", f"ff-{TRACE}-{PARENT}-01")],
        [("traceparent", f"00-{'0' * 32}-{PARENT}-01")],
        [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
        [("traceparent", f"00-{TRACE.upper()}-{PARENT}-01")],
        [("traceparent", "\u00ff" * 55)],
        [("traceparent", f"00-{TRACE}-{PARENT}-00"), ("traceparent", f"00-{TRACE}-{PARENT}-00")],
        [("tracestate", "a=1")],
    ],
)
async def test_without_a_valid_parent_a_trace_begins(fields: list[tuple[str, str]], service: Service) -> None:
    client, spans = service
    headers = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    assert (await client.get("/users/1", headers=headers)).status_code == 200
    span = spans.one("GET /users/{name}")
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE


@pytest.mark.parametrize(
    ("sampler", "share", "headers", "traced"),
    [
        ("traceidratio", "0", {}, 0),
        ("traceidratio", "1", {}, 20),
        ("traceidratio", "0", SAMPLED, 0),
        ("traceidratio", "1", NOT_SAMPLED, 20),
        ("parentbased_traceidratio", "0", {}, 0),
        ("parentbased_traceidratio", "0", SAMPLED, 20),
        ("parentbased_traceidratio", "1", NOT_SAMPLED, 0),
        ("parentbased_traceidratio", "0", {"traceparent": f"01-{TRACE}-{PARENT}-0b-more"}, 20),
        ("parentbased_traceidratio", "1", {"traceparent": f"01-{TRACE}-{PARENT}-0a-more"}, 0),
        ("always_off", "", SAMPLED, 0),
    ],
)
async def test_who_decides(
    sampler: str, share: str, headers: dict[str, str], traced: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collected(monkeypatch, TRACES_SAMPLER=sampler, TRACES_SAMPLER_ARG=share) as spans:
        async with a_service() as client:
            for _ in range(20):
                await client.get("/users/1", headers=headers)
    assert len(spans.all) == traced


async def test_a_share_of_the_requests_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    with collected(monkeypatch, TRACES_SAMPLER="traceidratio", TRACES_SAMPLER_ARG="0.5") as spans:
        async with a_service() as client:
            for _ in range(100):
                await client.get("/users/1")
    assert 10 < len(spans.all) < 90  # with a probability of 1 - 1e-17


async def test_errors(service: Service) -> None:
    client, spans = service
    assert (await client.get("/users/broken")).status_code == 500
    assert (await client.get("/nothing")).status_code == 404
    broken, missing = spans.one("GET /users/{name}"), spans.one("GET")
    assert not broken.status.is_ok
    assert dict(broken.attributes or {})["error.type"] == "500"
    assert "grace" not in broken.to_json()
    assert "error.type" not in dict(missing.attributes or {})


async def test_probes_and_scrapes_are_not_traced(service: Service) -> None:
    client, spans = service
    for path in ("/livez", "/readyz", "/metrics"):
        assert (await client.get(path, headers=SAMPLED)).status_code == 200
    assert spans.all == ()


async def test_a_measurement_names_its_trace(service: Service) -> None:
    client, _ = service
    await client.get("/users/1", headers=SAMPLED)
    plain, open_ = await client.get("/metrics"), await client.get("/metrics", headers=OPENMETRICS)
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert TRACE not in plain.text
    assert open_.headers["Content-Type"].startswith("application/openmetrics-text")
    [*_, bucket] = [line for line in open_.text.splitlines() if TRACE in line]
    assert bucket.startswith('http_request_duration_seconds_bucket{le="')
    assert f'# {{trace_id="{TRACE}"}}' in bucket


async def test_without_opentelemetry_there_is_no_layer() -> None:
    with log_lines.written() as lines:
        async with a_service() as client:
            assert (await client.get("/users/1", headers=SAMPLED)).status_code == 200
    assert all("trace_id" not in line for line in lines.all)


async def test_other_protocols_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        passed.append(scope["type"])

    with collected(monkeypatch):
        tracer = telemetry.current()
        assert tracer is not None
        await ServerSpans(app, tracer)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert passed == ["lifespan"]
