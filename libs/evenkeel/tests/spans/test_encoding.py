"""What is exported is what OpenTelemetry's encoder would make of the same spans."""

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from evenkeel.spans.encoding import encoded
from evenkeel.spans.recording import Recorder

CALLERS = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "1"), ("b", "2")]))


class Ended(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def test_every_part_of_a_span() -> None:
    ended = Ended()
    recorder = Recorder(ended, Resource.create({"service.name": "test"}))

    def span(name: str, *, failed: bool = False, **options: object) -> SpanContext:
        begun = recorder.begin(name, **({"parent": None, "kind": "server", "attributes": {}, "links": ()} | options))  # type: ignore[arg-type]
        begun.failed = failed
        begun.end()
        return begun.context

    request = span("GET /v1/users/{user_id}", parent=CALLERS)
    wait = span("wait", parent=request, kind="internal", links=[request, CALLERS])
    span("changes", parent=wait, kind="client", failed=True, links=[wait] * 200)
    span("\u00fc" * 200, attributes={"text": "\u00e9" * 20_000, "empty": ""})
    for value in (0, 1, True, False, 200, -1, 2**62, ("a", "b"), ("1",), "1", ()):
        span("x", attributes={"value": value, "more": "same"})
    assert encoded(ended.spans) == encode_spans(ended.spans)
    assert len(encoded(ended.spans).resource_spans[0].scope_spans[0].spans) == len(ended.spans) == 15
