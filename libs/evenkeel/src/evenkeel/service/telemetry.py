"""Traces by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT is set. Otherwise nothing of it is imported.

The standard variables apply: OTEL_TRACES_SAMPLER and its _ARG, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_…,
OTEL_EXPORTER_OTLP_…. A thread exports what has ended. If the collector is slow or gone, spans are dropped.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from evenkeel import tracing
from evenkeel.service.sampling import Sampling
from evenkeel.tasks.failures import first_line
from evenkeel.tracing import Attributes, Kind, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import export

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

FLUSH = 2.0
"""Seconds that a replica which ends waits for its last spans to be exported."""


_current: "OpenTelemetry | None" = None


def wanted() -> bool:
    """Whether the environment asks for traces."""
    switched_off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return any(os.environ.get(name, "").strip() for name in ENDPOINTS) and not switched_off and not none


@contextmanager
def left_out() -> Iterator[None]:
    """Let nothing in this block import the SDK, unless the environment asks for traces.

    redis-py imports it where it is installed, for metrics that it does not collect unasked: 2 MiB and 0.1 s of CPU.
    """
    name = "opentelemetry.sdk"
    if wanted() or name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # an import of it raises ImportError
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def exported(service: str, replica: str, version: str) -> Iterator[None]:
    """Export the spans of the block, if the environment asks for it. What is wrong with it is logged, never raised."""
    if not wanted():
        yield
        return
    try:
        of_process = tracer(service, replica, version)
    except Exception as error:  # noqa: BLE001 (a service must not fail because it cannot be observed)
        log.warning("no traces", extra={"reason": first_line(error)})
        yield
        return
    with traced(of_process):
        yield


def current() -> "OpenTelemetry | None":
    """What makes the spans now."""
    return _current


@contextmanager
def traced(tracer: "OpenTelemetry") -> Iterator[None]:
    """Make spans with this tracer, and export the last ones within FLUSH seconds."""
    global _current  # noqa: PLW0603 (one for each process, as in `tracing`)
    _current = tracer
    tracing.use(tracer)
    try:
        yield
    finally:
        _current = None
        tracing.use(None)
        # The SDK's own shutdown may wait for half a minute. A daemon thread ends with the process.
        flushing = threading.Thread(target=tracer.close, daemon=True)
        flushing.start()
        flushing.join(FLUSH)


def tracer(service: str, replica: str, version: str) -> "OpenTelemetry":
    """Makes and exports spans as the environment says; raise RuntimeError without the extra [telemetry]."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401, PLC0415 (memory at rest)
    except ImportError:
        raise RuntimeError("the extra [telemetry] is not installed") from None
    from evenkeel.spans.encoding import SpanExporter  # noqa: PLC0415

    resource = {"service.instance.id": replica, "service.version": version}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = service
    return OpenTelemetry(SpanExporter(), resource)


class OpenTelemetry:
    """`evenkeel.tracing.Tracer` and `evenkeel.http.server_spans.RequestTracer`, by the SDK of OpenTelemetry."""

    def __init__(self, exporter: "export.SpanExporter", resource: Mapping[str, str], *, at_once: bool = False) -> None:
        """`at_once` exports each span as it ends, for tests."""
        from opentelemetry import trace  # noqa: PLC0415 (memory at rest)
        from opentelemetry.context import Context  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        from evenkeel.spans.recording import Recorder  # noqa: PLC0415

        self._current_span, self._nowhere = trace.get_current_span, Context()
        self._propagator = TraceContextTextMapPropagator()
        self._processor = SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter)
        self._recorder = Recorder(self._processor, Resource.create(resource))
        # Only for requests. One that is sampled has all its spans, also those of shared work, which begin traces.
        self.sampling = Sampling.of_the_environment(os.environ)

    def flush(self) -> None:
        """Export what has ended, now and in this thread."""
        self._processor.force_flush()

    def close(self) -> None:
        """Export what is left."""
        self._processor.shutdown()

    def request(self, method: str, carrier: Mapping[str, str]) -> Span:
        parent = None
        if carrier:
            context = self._propagator.extract(carrier, self._nowhere)
            callers = self._current_span(context).get_span_context()
            parent = callers if callers.is_valid else None
        return self._recorder.begin(
            method, parent=parent, kind="server", attributes={"http.request.method": method}, links=()
        )

    def answered(self, span: Any, *, method: str, route: str | None, status: int, error: str | None) -> None:
        # Neither path nor query: names of counters and addresses of users are in them.
        if route is not None:
            span.name = f"{method} {route}"
            span.set_attribute("http.route", route)
        if status:
            span.set_attribute("http.response.status_code", status)
        if error is not None or status >= 500:
            self.fail(span, error or str(status))
        span.end()

    def begin(self, name: str, *, parent: Any, kind: Kind, attributes: Attributes, links: Sequence[Span]) -> Span:
        return self._recorder.begin(
            name,
            parent=None if parent is None else parent.context,
            kind=kind,
            attributes=attributes,
            links=[span.get_span_context() for span in links],
        )

    def fail(self, span: Any, error_type: str) -> None:
        span.set_attribute("error.type", error_type)
        span.failed = True
