"""The gateway's own answers over HTTP/1.1 and HTTP/2. Each row names the section of the RFC."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
from tests.support import http2_frames
from tests.support.gateway_bench import Bench, gateway_bench, gateway_problem

pytestmark = pytest.mark.anyio

LIMIT = 64 * 1024


@dataclass(frozen=True)
class Row:
    section: str
    method: str
    path: str
    status: int
    slug: str
    headers: dict[str, str] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    """Header fields of the answer."""
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.section}: {self.method} {self.path} {self.headers or ''}"[:100]


# For both versions of HTTP.
ROWS = [
    Row("9110, 7.4", "GET", "/v1/users/1", 421, "misdirected-request", {"Host": "evil.example.com"}),
    Row("9110, 7.4", "GET", "/docs", 421, "misdirected-request", {"Host": "localhost.evil.example.com"}),
    Row("9110, 7.4", "GET", "/v1/users/1", 421, "misdirected-request", {"Host": "127.0.0.1.evil.example.com"}),
    Row("9110, 9.1", "FOO", "/v1/users/1", 501, "unknown-method"),
    Row("9110, 9.1", "PROPFIND", "/nothing-here", 501, "unknown-method"),
    Row("9110, 9.1", "GETS", "/v1/users/1", 501, "unknown-method"),
    Row("9110, 15.5.4", "GET", "/counter", 403, "foreign-page", {"Sec-Fetch-Site": "cross-site"}),
    Row("9110, 15.5.4", "GET", "/counter", 403, "foreign-page", {"Sec-Fetch-Site": "same-site"}),
    Row("9110, 15.5.4", "POST", "/v1/counters/a/increment", 403, "foreign-page", {"Origin": "http://evil.example.com"}),
    Row("9110, 15.5.4", "POST", "/v1/counters/a/increment", 403, "foreign-page", {"Origin": "null"}),
    Row("9110, 15.5.4", "OPTIONS", "/v1/users/1", 403, "foreign-page", {"Origin": "http://localhost:1"}),
    Row("9110, 15.5.5", "GET", "/nothing-here", 404, "not-found"),
    Row("9110, 15.5.6", "POST", "/docs", 405, "method-not-allowed", answered={"Allow": "GET, HEAD"}),
    Row("9110, 15.5.6", "DELETE", "/docs", 405, "method-not-allowed", answered={"Allow": "GET, HEAD"}),
    Row("9110, 15.6.4", "GET", "/v1/counters/a", 503, "unavailable", answered={"Retry-After": "1"}),
    Row("9110, 15.6.4", "GET", "/v1/counters/a/events", 503, "unavailable", answered={"Retry-After": "1"}),
    Row("9110, 15.6.4", "GET", "/v1/counters:export", 503, "unavailable", answered={"Retry-After": "1"}),
    Row("3986, 6.2.2", "GET", "/v1/users%2F1", 400, "bad-request"),
]

# For HTTP/1.1 only, byte by byte.
LINES = [
    ("9112, 3.2", b"GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400, "bad-request"),
    ("9112, 3.2", b"GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\nHost: evil.example.com\r\n", 400, "bad-request"),
    ("9112, 3.2", b"GET /v1/users/1 HTTP/1.1\r\nHost: localhost, localhost\r\n", 400, "bad-request"),
    ("9112, 3.2", b"GET /v1/users/1 HTTP/1.1\r\n", 400, "bad-request"),
    ("9112, 3.2.2", b"GET http://a.example.com/ HTTP/1.1\r\nHost: localhost\r\n", 421, "misdirected-request"),
    ("9112, 3", b"nonsense\r\n", 400, "bad-request"),
    ("9112, 3", b"F<O /v1/users/1 HTTP/1.1\r\nHost: localhost\r\n", 400, "bad-request"),
    ("9112, 5.1", b"GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\nA : b\r\n", 400, "bad-request"),
    (
        "9112, 6.1",
        b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        400,
        "bad-request",
    ),
    ("9112, 6.2", b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n", 400, "bad-request"),
    ("9110, 9.3.6", b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n", 501, "http-error"),
    (
        "9110, 7.8",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        501,
        "http-error",
    ),
    ("9110, 15.5.22", b"GET /v1/users/1 HTTP/1.0\r\nHost: localhost\r\n", 426, "upgrade-required"),
    ("6585, 5", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 65536 + b"\r\n", 431, "headers-too-large"),
]


@pytest.fixture(scope="module")
async def open_bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with gateway_bench(tmp_path_factory.mktemp("conformance")) as bench:
        yield bench


@pytest.fixture
def bench(open_bench: Bench) -> Bench:
    open_bench.received.clear()
    return open_bench


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_over_http_1(bench: Bench, row: Row) -> None:
    response = await bench.client.request(row.method, row.path, headers=row.headers)
    assert_own_problem(response, row.status, row.slug)
    assert {name: response.headers[name] for name in row.answered} == row.answered
    assert not bench.received


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_over_http_2(bench: Bench, row: Row) -> None:
    """Only the document: its header fields come from the same lines of the configuration."""
    fields = [(":method", row.method), (":scheme", "http"), (":path", row.path)]
    fields += [(":authority", row.headers.get("Host", "localhost"))]
    fields += [(name.lower(), value) for name, value in row.headers.items() if name != "Host"]
    document = json.loads(await _over_http_2(bench, fields))
    assert (document["status"], document["type"].rpartition(":")[2]) == (row.status, row.slug)
    assert not bench.received


async def test_connect_over_http_2(bench: Bench) -> None:
    """RFC 9113, 8.5: without scheme and path."""
    document = json.loads(await _over_http_2(bench, [(":method", "CONNECT"), (":authority", "localhost:80")]))
    assert (document["status"], document["type"].rpartition(":")[2]) == (501, "http-error")


@pytest.mark.parametrize(
    ("section", "head", "status", "slug"), LINES, ids=[f"{row[0]} {row[1][:60]!r}" for row in LINES]
)
async def test_lines_of_http_1(bench: Bench, section: str, head: bytes, status: int, slug: str) -> None:
    assert_own_problem(await _raw(bench, head + b"\r\n"), status, slug)
    assert not bench.received, section


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [("POST", "/v1/users", LIMIT), ("PATCH", "/v1/users/1", LIMIT), ("POST", "/v1/counters:batch", 8 * LIMIT)],
)
async def test_content_too_large(bench: Bench, method: str, path: str, limit: int) -> None:
    """RFC 9110, 15.5.14."""
    response = await bench.client.request(method, path, content=b"x" * (limit + 1))
    assert_own_problem(response, 413, "content-too-large")
    assert not bench.received


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "localhost:1", "app.localhost", "127.0.0.1", "127.1.2.3:80"),
        *("[::1]", "[::1]:8080"),
    ],
)
async def test_loopback_has_many_names(bench: Bench, host: str) -> None:
    assert (await bench.client.get("/v1/users/1", headers={"Host": host})).status_code == 200


async def test_a_head_has_the_fields_and_no_content(bench: Bench) -> None:
    """RFC 9110, 9.3.2."""
    response = await bench.client.head("/counter", headers={"Sec-Fetch-Site": "cross-site"})
    assert (response.status_code, response.content) == (403, b"")
    assert response.headers["Content-Type"] == "application/problem+json"


def assert_own_problem(response: httpx.Response, status: int, slug: str) -> None:
    assert gateway_problem(response) == (status, slug)
    assert response.headers["Cache-Control"] == "no-store"


async def _raw(bench: Bench, request: bytes) -> httpx.Response:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    try:
        writer.write(request)
        async with asyncio.timeout(30):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            headers = httpx.Headers(
                [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:-2])]
            )
            body = await reader.readexactly(int(headers["content-length"]))
    finally:
        writer.close()
    return httpx.Response(int(lines[0].split()[1]), headers=headers, content=body)


async def _over_http_2(bench: Bench, fields: list[tuple[str, str]]) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    try:
        writer.write(http2_frames.opening() + http2_frames.request(1, fields))
        async with asyncio.timeout(30):
            return await http2_frames.body(reader)
    finally:
        writer.close()
