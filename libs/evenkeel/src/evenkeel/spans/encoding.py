"""Spans as OTLP has them, for OpenTelemetry's own exporter.

Its encoder makes objects of all parts of each span, which takes longer than to answer a request from memory. Spans of a
service differ in ids, times and a few attributes. So the parts that recur are encoded once, and merged into each span.
"""

from collections.abc import Sequence
from functools import lru_cache

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

PARTS = 1024
"""Encoded parts that are kept. A few dozen recur."""

_LOCAL = otlp.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | otlp.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


class SpanExporter(OTLPSpanExporter):
    """Sends spans as the environment says. Only their encoding differs."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        sent = self._client.export(encoded(spans).SerializeToString())
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE


def encoded(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """What OpenTelemetry's encoder makes of them. All spans have the resource and the scope of the first."""
    request: ExportTraceServiceRequest = encode_spans(spans[:1])
    of_scope = request.resource_spans[0].scope_spans[0]
    of_scope.ClearField("spans")
    for span in spans:
        _fill(of_scope.spans.add(), span)
    return request


def _fill(encoded: otlp.Span, span: ReadableSpan) -> None:
    context, parent = span.context, span.parent
    encoded.trace_id, encoded.span_id = context.trace_id.to_bytes(16), context.span_id.to_bytes(8)
    encoded.start_time_unix_nano, encoded.end_time_unix_nano = span.start_time or 0, span.end_time or 0
    parts = [_frame(span.name, span.kind, span.status.status_code, _flags(parent))]
    for key, value in (span.attributes or {}).items():
        if isinstance(value, tuple):
            # Header fields of an answer, such as its id, differ each time.
            texts = encoded.attributes.add(key=key).value.array_value
            texts.SetInParent()
            for text in value:
                texts.values.add(string_value=text)
        else:
            parts.append(_attribute(key, value))
    encoded.MergeFromString(b"".join(parts))
    if parent is not None:
        encoded.parent_span_id = parent.span_id.to_bytes(8)
    if context.trace_state:
        encoded.trace_state = context.trace_state.to_header()
    if span.links:
        for link in span.links:
            its = link.context
            encoded.links.add(trace_id=its.trace_id.to_bytes(16), span_id=its.span_id.to_bytes(8), flags=_flags(its))
        encoded.dropped_links_count = span.dropped_links


@lru_cache(PARTS)
def _frame(name: str, kind: SpanKind, status: StatusCode, flags: int) -> bytes:
    span = otlp.Span(
        name=name,
        kind=otlp.Span.SpanKind.Value(f"SPAN_KIND_{kind.name}"),
        status=otlp.Status(code=otlp.Status.StatusCode.Value(f"STATUS_CODE_{status.name}")),
        flags=flags,
    )
    return bytes(span.SerializeToString())


# `typed`, since True is equal to 1.
@lru_cache(PARTS, typed=True)
def _attribute(key: str, value: str | int) -> bytes:
    if isinstance(value, str):
        encoded = AnyValue(string_value=value)
    elif isinstance(value, bool):
        encoded = AnyValue(bool_value=value)
    else:
        encoded = AnyValue(int_value=value)
    return bytes(otlp.Span(attributes=[KeyValue(key=key, value=encoded)]).SerializeToString())


def _flags(context: SpanContext | None) -> int:
    return _REMOTE if context is not None and context.is_remote else _LOCAL
