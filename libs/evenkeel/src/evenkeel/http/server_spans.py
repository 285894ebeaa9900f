"""The span of each sampled request, around everything that the application does.

Nothing is switched off for a request that is traced: the layers ahead of FastAPI answer it as they answer any other.
A request that is not sampled costs a look at its header fields.
"""

import re
from collections.abc import Awaitable, Iterable, Mapping
from random import random
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evenkeel.tracing import CALLERS_TRACE, CURRENT, TRACE_ID, Span

NOT_TRACED = frozenset({"/livez", "/readyz", "/metrics"})
"""Paths that machines ask for every second."""

# https://www.w3.org/TR/trace-context/#traceparent-header; a later version may have more members at its end.
_is_parent = re.compile(
    rb"(?!ff)(?:00|(?!00)(?P<later>[0-9a-f]{2}))-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?(later)(?:-.*)?)"
).fullmatch

# The last digit of the flags of such a field, and what it is if the caller's trace is sampled.
_FLAGS, _SAMPLED = 54, b"13579bdf"


class Sampling(Protocol):
    """Which requests are sampled."""

    @property
    def share(self) -> float:
        """Of the traces that begin here."""
        ...

    @property
    def parent_based(self) -> bool:
        """Whether callers decide about their traces."""
        ...

    def chooses(self, trace_id: bytes) -> bool:
        """Whether a caller's trace is sampled, if callers do not decide. The id is hexadecimal."""
        ...


class RequestTracer(Protocol):
    """Makes the spans of requests that are sampled."""

    @property
    def sampling(self) -> Sampling: ...

    def request(self, method: str, carrier: Mapping[str, str]) -> Span:
        """The span of a request, in the trace that the header fields `carrier` name."""
        ...

    def answered(self, span: Span, *, method: str, route: str | None, status: int, error: str | None) -> None:
        """End the span."""
        ...


class ServerSpans:
    """Plain ASGI, around the request context."""

    def __init__(self, app: ASGIApp, tracer: RequestTracer) -> None:
        self._app = app
        self._tracer = tracer
        sampling = tracer.sampling
        self._share, self._parent_based, self._chooses = sampling.share, sampling.parent_based, sampling.chooses

    # Most requests are not sampled, and every microsecond is a thirtieth of a read from memory. So this is not async,
    # and calls nothing that it can do itself.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or scope["path"] in NOT_TRACED:
            return self._app(scope, receive, send)
        parent = None
        for name, value in scope["headers"]:
            if name == b"traceparent":
                parent = value if parent is None else b""  # two of them are as good as none
        if parent is None or not _is_parent(parent):
            if random() >= self._share:  # noqa: S311 (no secret)
                return self._app(scope, receive, send)
            carrier: dict[str, str] = {}
        else:
            CALLERS_TRACE.set(parent)
            if not (parent[_FLAGS] in _SAMPLED if self._parent_based else self._chooses(parent[TRACE_ID])):
                return self._app(scope, receive, send)
            carrier = {"traceparent": parent.decode("latin-1")} | _states(scope["headers"])
        return self._traced(self._tracer.request(scope["method"], carrier), scope, receive, send)

    async def _traced(self, span: Span, scope: Scope, receive: Receive, send: Send) -> None:
        status, failed = 0, None

        def send_and_look(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                for name, value in message.get("headers", ()):
                    if name in _KEPT:
                        span.set_attribute(f"http.response.header.{name.decode()}", (value.decode("latin-1"),))
            return send(message)

        CURRENT.set(span)  # never reset: each request has its own task, and the context ends with the task
        try:
            await self._app(scope, receive, send_and_look)
        except BaseException as error:
            failed = type(error).__qualname__
            raise
        finally:
            route = getattr(scope.get("route"), "path", None)
            self._tracer.answered(span, method=scope["method"], route=route, status=status, error=failed)


_KEPT = frozenset({b"cache-status", b"x-request-id"})
"""Fields of the answer that the span has. Cache-Status says what each tier did, without a span for each."""


def _states(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    states = [value.decode("latin-1") for name, value in headers if name == b"tracestate" and value]
    return {"tracestate": ",".join(states)} if states else {}
