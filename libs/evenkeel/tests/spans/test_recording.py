"""What is recorded here is what OpenTelemetry's own spans would be."""

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from evenkeel.spans.recording import Recorder

RESOURCE = Resource.create({"service.name": "test"})
CALLERS = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "1")]))


class Ended(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


@pytest.mark.parametrize("parent", [None, CALLERS, SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(2))])
def test_the_same_as_opentelemetry_makes(parent: SpanContext | None) -> None:
    ended = Ended()
    links = [SpanContext(n, n, is_remote=False) for n in range(1, 201)]
    provider = TracerProvider(sampler=ALWAYS_ON, resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(ended)
    theirs = provider.get_tracer("evenkeel").start_span(
        "GET",
        context=None if parent is None else set_span_in_context(NonRecordingSpan(parent)),
        kind=SpanKind.SERVER,
        links=[Link(context) for context in links[:-1]],
    )
    ours = Recorder(ended, RESOURCE).begin("GET", parent=parent, kind="server", attributes={}, links=links[:-1])
    for span in (theirs, ours):
        span.set_attribute("http.route", "/")
        span.add_link(links[-1])
    theirs.set_status(StatusCode.ERROR)
    ours.failed = True
    theirs.end()
    ours.end()
    theirs_ended, ours_ended = ended.spans
    assert _shown(ours_ended) == _shown(theirs_ended)
    assert [link.context for link in ours_ended.links] == [link.context for link in theirs_ended.links]
    assert ours_ended.dropped_links == theirs_ended.dropped_links == 72
    assert hash(ours_ended.resource) == hash(theirs_ended.resource)


def _shown(span: ReadableSpan) -> object:
    """All of a span but its times and the ids that are drawn."""
    assert span.context is not None
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time <= span.end_time
    assert span.context.is_valid
    in_a_trace = span.parent is not None and span.context.trace_id == span.parent.trace_id
    return (
        (span.name, span.kind, span.parent, span.status.status_code, span.status.description, tuple(span.events)),
        (dict(span.attributes or {}), span.resource.to_json(), span.instrumentation_scope),
        (in_a_trace, span.context.is_remote, span.context.trace_flags, span.context.trace_state),
    )
