"""A FastAPI application with the parts that all services share.

Problem documents for all errors, request ids, metrics, the probes, a bounded body, and documentation whose assets
come from the service itself.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from evenkeel.http import problems
from evenkeel.http.body_limit import ContentTooLargeAnswers
from evenkeel.http.gateway_problems import OF_EVERY_ROUTE
from evenkeel.http.heads import HeadAsGet
from evenkeel.http.openapi import for_generators
from evenkeel.http.problems import InternalError, NotReady, ProblemDocument
from evenkeel.http.repeated_fields import RepeatedFields
from evenkeel.http.request_context import RequestContext
from evenkeel.http.server_spans import ServerSpans
from evenkeel.service import telemetry
from evenkeel.service.draining import Draining
from evenkeel.service.readiness import Readiness

MAX_BODY = 64 * 1024
"""Bytes. A larger body gets 413 before it is read."""

SERVICE_FIELD = "X-Envoy-Upstream-Healthchecked-Cluster"
"""The field in which /readyz names its service. The gateway uses an address only if it is the right one: an address
may belong to a pod of another service by now.
"""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


Layer = Callable[[ASGIApp], ASGIApp]


def create_application(
    *,
    title: str,
    description: str,
    version: str,
    lifespan: Lifespan,
    replica: str,
    registry: CollectorRegistry,
    ahead: Layer | None = None,
    tags: Mapping[str, str] | None = None,
    problem_document: type[ProblemDocument] = ProblemDocument,
) -> FastAPI:
    """The application, without the service's own routes.

    `title` is the name of the service. The lifespan's state must have a `readiness`, which /readyz checks, together
    with `app.state.draining`. `ahead` is a layer behind the request context and before everything else. So its answers
    have an id and are counted, too. For the OpenAPI document, `tags` describes the groups of operations, and
    `problem_document` has the members of the service's problems.
    """
    app = _Application(
        replica=replica,
        registry=registry,
        ahead=ahead,
        problem_document=problem_document,
        title=title,
        description=description,
        version=version,
        license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        openapi_tags=[{"name": name, "description": text} for name, text in (tags or {}).items()],
        lifespan=lifespan,
        # FastAPI would trace what goes through its routing alone. Its default also costs each request a tenth of a
        # read from memory, because it looks whether OpenTelemetry has been set up since.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        max_body_size=MAX_BODY,
        responses=problems.responses(InternalError, *OF_EVERY_ROUTE),
        docs_url=None,
        redoc_url=None,
        # A redirect would name this replica's own address. An address with a slash at its end does not exist.
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.draining = Draining()
    problems.install(app)
    _add_operations(app, registry)
    _add_documentation(app)
    return app


class _Application(FastAPI):
    """RequestContext goes around everything: FastAPI puts its own error and body-limit answers outside of what
    `add_middleware` adds, and those answers need a request id too.
    """

    def __init__(
        self,
        *,
        replica: str,
        registry: CollectorRegistry,
        ahead: Layer | None,
        problem_document: type[ProblemDocument],
        **options: Any,
    ) -> None:
        self._problem_document = problem_document
        self._replica = replica
        self._registry = registry
        self._ahead = ahead
        super().__init__(**options)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = for_generators(super().openapi(), problem=self._problem_document)
        return self.openapi_schema

    def build_middleware_stack(self) -> ASGIApp:
        answers: ASGIApp = RepeatedFields(ContentTooLargeAnswers(super().build_middleware_stack()))
        if self._ahead is not None:
            answers = self._ahead(answers)
        answers = RequestContext(HeadAsGet(answers), replica=self._replica, registry=self._registry)
        tracer = telemetry.current()
        return answers if tracer is None else ServerSpans(answers, tracer)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _add_operations(app: FastAPI, registry: CollectorRegistry) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz", include_in_schema=False)
    async def readyz(request: Request) -> Response:
        draining: Draining = app.state.draining
        if draining.begun:
            raise NotReady("This replica is about to end.", checks={"draining": "about to end"})
        readiness: Readiness = request.state.readiness
        await readiness.require()
        details = readiness.current_details()
        body = {"status": "ready"} | ({"details": details} if details else {})
        return JSONResponse(body, headers={SERVICE_FIELD: app.title})

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        # OpenMetrics, for which Prometheus asks, has the trace ids of exemplars, too.
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})


def _add_documentation(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=app.title,
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon.png",
        )

    app.mount("/docs/assets", StaticFiles(directory=str(files("fastapi_offline") / "static")))
