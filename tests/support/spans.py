"""Spans: collected in this process, or received as a collector receives them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from evenkeel.service.telemetry import OpenTelemetry, traced

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}


class Spans:
    """Those that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def clear(self) -> None:
        self._exporter.clear()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span


@contextlib.contextmanager
def collected(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Iterator[Spans]:
    """All spans that end in this block. The environment has OTEL_…, without this prefix."""
    for name, value in environment.items():
        monkeypatch.setenv(f"OTEL_{name}", value)
    exporter = InMemorySpanExporter()
    with traced(OpenTelemetry(exporter, {"service.name": "test"}, at_once=True)):
        yield Spans(exporter)


class Collector:
    """Answers as `answer` says: an HTTP status, or raw bytes instead of an answer; None: never."""

    def __init__(self) -> None:
        self.answer: int | bytes | None = 200
        self.spans: list[tuple[str, Any]] = []
        """The name of the service, and the span."""
        self.requests = 0
        self.port = 0
        self.stop: Callable[[], object] = lambda: None
        """Accept no connection any more."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def services(self, trace: bytes) -> set[str]:
        return {service for service, span in self.spans if span.trace_id == trace}

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            [service] = [a.value.string_value for a in of_resource.resource.attributes if a.key == "service.name"]
            self.spans += [(service, span) for scope in of_resource.scope_spans for span in scope.spans]


async def _body(reader: asyncio.StreamReader, fields: Mapping[bytes, bytes]) -> bytes:
    if b"chunked" not in fields.get(b"transfer-encoding", b""):
        return await reader.readexactly(int(fields.get(b"content-length", b"0").strip()))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


@contextlib.asynccontextmanager
async def collector(port: int = 0) -> AsyncIterator[Collector]:
    """An OTLP collector on this port, or on a free one."""
    found = Collector()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if line)
                body = await _body(reader, fields)
                found.requests += 1
                if found.answer == 200:
                    found.take(body)
                if found.answer is None:
                    await reader.read()  # until the other side gives up
                    break
                answer = found.answer
                writer.write(
                    b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % answer if isinstance(answer, int) else answer
                )
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    found.stop = server.close
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
