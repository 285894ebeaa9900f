"""Spans of what requests wait for. Without a tracer, each function here returns at once.

This module imports nothing of OpenTelemetry. `evenkeel.service.telemetry` sets the tracer where the environment asks
for traces. A span exists only inside a request that is sampled, so background work has none.

Spans carry no values: no e-mail address, no parameter of a statement, no message of an error, which may quote one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Literal, Protocol

Kind = Literal["internal", "client", "server"]
Attributes = Mapping[str, str | int | bool | Sequence[str]]


class Span(Protocol):
    """The part of OpenTelemetry's span that is used."""

    def get_span_context(self) -> Any: ...
    def set_attribute(self, key: str, value: Any) -> None: ...
    def add_link(self, context: Any) -> None: ...
    def end(self) -> None: ...


class Tracer(Protocol):
    def begin(
        self, name: str, *, parent: Span | None, kind: Kind, attributes: Attributes, links: Sequence[Span]
    ) -> Span: ...

    def fail(self, span: Span, error_type: str) -> None:
        """Mark the span as failed."""
        ...


CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)
"""The innermost span. None outside of sampled requests."""

CALLERS_TRACE: ContextVar[bytes | None] = ContextVar("callers_trace", default=None)
"""The valid `traceparent` of the current request, whether its trace is sampled or not."""

TRACE_ID = slice(3, 35)
"""Where the id of the trace is in a `traceparent`."""

_tracer: Tracer | None = None
_NOTHING: AbstractContextManager[None] = nullcontext()


def use(tracer: Tracer | None) -> None:
    """Make spans with this tracer from now on, or none."""
    global _tracer  # noqa: PLW0603 (one for each process, as OpenTelemetry has it)
    _tracer = tracer


def active() -> bool:
    return _tracer is not None


def trace_id() -> str | None:
    """Of the current request or work, as logs have it."""
    if _tracer is None:
        return None
    if (span := CURRENT.get()) is not None:
        return _hex(span)
    callers = CALLERS_TRACE.get()
    return None if callers is None else callers[TRACE_ID].decode()


def exemplar() -> dict[str, str] | None:
    """What a histogram keeps beside a measurement, so that a dashboard leads to the trace."""
    if _tracer is None or (span := CURRENT.get()) is None:
        return None
    return {"trace_id": _hex(span)}


def span(
    name: str, *, kind: Kind = "internal", attributes: Attributes | None = None
) -> AbstractContextManager[Span | None]:
    """Around a part of a request. Nothing outside of sampled requests."""
    if _tracer is None or (parent := CURRENT.get()) is None:
        return _NOTHING
    return Within(_tracer, _tracer.begin(name, parent=parent, kind=kind, attributes=attributes or {}, links=()))


class Within:
    """Makes a span the current one, and ends it. An error is recorded by its type alone."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._token: Token[Span | None] | None = None

    def __enter__(self) -> Span:
        self._token = CURRENT.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            CURRENT.reset(self._token)
        if kind is not None and issubclass(kind, Exception):
            self._tracer.fail(self._span, kind.__qualname__)
        self._span.end()


def shared(name: str, *, kind: Kind = "internal", attributes: Attributes | None = None) -> "Shared | None":
    """For work that several requests share. None without a tracer, so that nothing is called then."""
    return None if _tracer is None else Shared(name, kind=kind, attributes=attributes)


class Shared:
    """Work that several requests wait for, such as a round trip that carries the commands of many.

    Each sampled request gets a span for its wait. If it waits for several parts of the same work, that is one wait. The
    work has one span of its own. If it is done for one request, that span is the child of the wait. If it is done for
    several, it belongs to none of them: it begins a trace, and is linked with every wait in both directions.
    """

    def __init__(self, name: str, *, kind: Kind, attributes: Attributes | None) -> None:
        self._name = name
        self._kind = kind
        self._attributes = attributes or {}
        self._waits: dict[asyncio.Future[Any], _Wait] = {}
        self._latest: _Wait | None = None
        """The wait that began last, as long as its work has not begun."""

    def join(self, future: "asyncio.Future[Any]") -> None:
        """The current request waits for this future from now on."""
        if _tracer is None or (parent := CURRENT.get()) is None:
            return
        wait = self._latest
        if wait is None or wait.parent is not parent:
            name = f"wait for {self._name}"
            span = _tracer.begin(name, parent=parent, kind="internal", attributes={}, links=())
            self._latest = wait = _Wait(parent, span)
        wait.futures += 1
        self._waits[future] = wait
        future.add_done_callback(self._ended)

    def work(self, futures: Sequence["asyncio.Future[Any]"]) -> AbstractContextManager[Span | None]:
        """Around the work for which these futures wait."""
        if _tracer is None or not self._waits:
            return _NOTHING
        self._latest = None
        found = [self._waits.get(future) for future in futures]
        waits = [wait.span for wait in dict.fromkeys(found) if wait is not None]
        if not waits:
            return _NOTHING
        attributes = {**self._attributes, "evenkeel.waits": len(futures)}
        alone = len(waits) == 1 and None not in found
        span = _tracer.begin(
            self._name,
            parent=waits[0] if alone else None,
            kind=self._kind,
            attributes=attributes,
            links=() if alone else waits,
        )
        if not alone:
            for wait in waits:
                wait.add_link(span.get_span_context())
        return Within(_tracer, span)

    def _ended(self, future: "asyncio.Future[Any]") -> None:
        wait = self._waits.pop(future, None)
        if wait is None:
            return
        if not future.cancelled() and (error := future.exception()) is not None and _tracer is not None:
            _tracer.fail(wait.span, type(error).__qualname__)
        wait.futures -= 1
        if not wait.futures:
            if self._latest is wait:
                self._latest = None
            wait.span.end()


class _Wait:
    """Of a request, for all of its futures that the work will bring."""

    __slots__ = ("futures", "parent", "span")

    def __init__(self, parent: Span, span: Span) -> None:
        self.parent = parent
        self.span = span
        self.futures = 0
        """Those that are not done."""


def _hex(span: Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"
