"""The span of each sampled request, around everything that the application does.

Nothing is switched off for a request that is traced: the layers ahead of FastAPI answer it as they answer any other.
A request that is not sampled costs a look at its header fields.
"""

import re
from collections.abc import Awaitable, Iterable, Mapping
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evenkeel.tracing import CALLERS_TRACE, CURRENT, Span

NOT_TRACED = frozenset({"/livez", "/readyz", "/metrics"})
"""Paths that machines ask for every second."""

# https://www.w3.org/TR/trace-context/#traceparent-header; a later version may have more members at its end.
_PARENT = re.compile(
    "(?!ff)(?:00|(?!00)(?P<later>[0-9a-f]{2}))-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})(?(later)(?:-.*)?)"
)


class RequestTracer(Protocol):
    """Decides which requests are sampled, and makes their spans."""

    def samples(self, parent: tuple[str, bool] | None) -> bool:
        """`parent` is the caller's trace in hexadecimal, and whether that is sampled."""
        ...

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

    # Not async, so that a request that is not sampled costs no coroutine.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http" or scope["path"] in NOT_TRACED:
            return self._app(scope, receive, send)
        # Faster than a comprehension for the few fields of most requests.
        parents: list[bytes] = []
        for name, value in scope["headers"]:
            if name == b"traceparent":
                parents.append(value)
        # Two of them are as good as none.
        if len(parents) != 1 or (found := _PARENT.fullmatch(text := parents[0].decode("latin-1"))) is None:
            if not self._tracer.samples(None):
                return self._app(scope, receive, send)
            carrier: dict[str, str] = {}
        else:
            CALLERS_TRACE.set(found["trace"])
            if not self._tracer.samples((found["trace"], int(found["flags"], 16) % 2 == 1)):
                return self._app(scope, receive, send)
            carrier = {"traceparent": text} | _states(scope["headers"])
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
