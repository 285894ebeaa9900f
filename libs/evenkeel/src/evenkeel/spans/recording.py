"""Spans as this process records them. OpenTelemetry gets each one when it has ended, and exports it.

OpenTelemetry's own spans can be changed by any code, in any thread, and have limits, locks and copies for that. To make
one takes twenty times as long. These are changed by the code of this library alone, in the thread of the event loop.
"""

import random
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from evenkeel.tracing import Attributes, Kind

_KINDS: Mapping[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "server": SpanKind.SERVER,
}
_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)
_NEW = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
"""Of a trace that begins here. Its id is random."""

_bits = random.Random().getrandbits  # noqa: S311 (ids must differ, and are no secret)


class RecordedSpan:
    """Attributes, links and name may change until it ends."""

    __slots__ = ("_recorder", "attributes", "context", "failed", "kind", "links", "name", "parent", "started")

    def __init__(self, recorder: "Recorder", name: str, kind: Kind, parent: SpanContext | None) -> None:
        self._recorder = recorder
        self.name = name
        self.kind = kind
        self.parent = parent
        self.context = _child(parent)
        self.attributes: dict[str, str | int | bool | Sequence[str]] = {}
        self.links: list[SpanContext] = []
        self.failed = False
        self.started = time_ns()

    def get_span_context(self) -> SpanContext:
        return self.context

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def add_link(self, context: SpanContext) -> None:
        self.links.append(context)

    def end(self) -> None:
        self._recorder.end(self)


class Recorder:
    """Begins spans of one process."""

    def __init__(self, processor: SpanProcessor, resource: Resource) -> None:
        self._processor = processor
        self._resource = _Resource(resource)
        self._scope = InstrumentationScope("evenkeel", "")
        self._most_links = SpanLimits().max_links

    def begin(
        self, name: str, *, parent: SpanContext | None, kind: Kind, attributes: Attributes, links: Sequence[SpanContext]
    ) -> RecordedSpan:
        span = RecordedSpan(self, name, kind, parent)
        span.attributes.update(attributes)
        span.links.extend(links)
        return span

    def end(self, span: RecordedSpan) -> None:
        links: Sequence[Link] = ()
        if span.links:
            links = BoundedList.from_seq(self._most_links, map(Link, span.links))
        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=span.context,
                parent=span.parent,
                resource=self._resource,
                attributes=span.attributes,
                links=links,
                kind=_KINDS[span.kind],
                status=_ERROR if span.failed else _UNSET,
                start_time=span.started,
                end_time=time_ns(),
                instrumentation_scope=self._scope,
            )
        )


class _Resource(Resource):
    """With its hash at hand. The exporter needs it for each span, and OpenTelemetry would write JSON for it."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(dict(resource.attributes), resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def _child(parent: SpanContext | None) -> SpanContext:
    """Of the parent's trace, or of a new one. No id is zero, since zero means none."""
    span_id = _bits(64) or 1
    if parent is None:
        return SpanContext(_bits(128) or 1, span_id, is_remote=False, trace_flags=_NEW)
    flags = parent.trace_flags
    if not flags & TraceFlags.SAMPLED:
        flags = TraceFlags(flags | TraceFlags.SAMPLED)
    return SpanContext(parent.trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=parent.trace_state)
