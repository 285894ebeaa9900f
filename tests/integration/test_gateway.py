"""What the gateway lets through, what it answers itself, and in which form."""

import asyncio
import json
import uuid
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support import http2_frames
from tests.support.problems import problem

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/index.html",
            "/metrics",
            "/livez",
            "/readyz",
            "/openapi.json",
            "/v1",
            "/v1/",
            "/v2/users",
            "/v1/usersx",
            "/v1/countersx",
        ),
        *("/counter/", "/stats/", "/admin", "/docs/../metrics", "/v1/users/../../metrics", "/v1/./../metrics"),
        *("/%6detrics", "//metrics", "/openapi/other.json", "/config_dump", "/stats/prometheus"),
    ],
)
async def test_only_the_contract_is_reachable(gateway: str, path: str) -> None:
    status, head, body = await raw(
        gateway, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    assert status == 404, body
    assert "content-type: application/problem+json" in head.lower()
    assert "x-request-id: " in head.lower()


@pytest.mark.parametrize("path", ["/v1/users%2f1", "/v1/users%2F..%2F..%2Fmetrics", "/v1/users%5c1", "/v1/users/%00"])
async def test_escaped_slashes_and_null_bytes_are_refused(gateway: str, path: str) -> None:
    status, head, body = await raw(
        gateway, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    assert status in {400, 404, 422}
    assert "content-type: application/problem+json" in head.lower()
    assert json.loads(body)["status"] == status


async def test_doubled_slashes_are_merged(gateway: str) -> None:
    status, _, __ = await raw(
        gateway, b"GET //v1//users?limit=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    assert status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /counter HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /counter HTTP/1.1\r\n\r\n",
        b"GET /counter HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /counter HTTP/1.1\r\nHost: localhost\r\nA B: c\r\n\r\n",
        b"GET /counter HTTP/1.1\r\nHost: localhost\r\nX_Request_Id: c\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(gateway: str, request_bytes: bytes) -> None:
    status, _, __ = await raw(gateway, request_bytes)
    assert status in {400, 426, 505}


async def test_oversized_headers_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/counter", headers={"X-Long": "x" * 100_000})
    assert response.status_code == 431


@pytest.mark.parametrize(
    ("path", "kib"), [("/v1/users", 64), ("/v1/counters/a/increment", 64), ("/v1/counters:batch", 512)]
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_body_over_the_limit(client: httpx.AsyncClient, path: str, kib: int, *, chunked: bool) -> None:
    async def chunks() -> object:
        for _ in range(kib + 1):
            yield b"x" * 1024

    content = chunks() if chunked else b"x" * (kib + 1) * 1024
    response = await client.post(path, content=content, headers={"Content-Type": "application/json"})  # type: ignore[arg-type]
    assert problem(response) == (413, "content-too-large")


async def test_a_batch_of_512_kib_gets_through(client: httpx.AsyncClient, name: str) -> None:
    operations = [{"name": name} for _ in range(1000)]
    content = json.dumps({"operations": operations}).ljust(512 * 1024).encode()
    response = await client.post("/v1/counters:batch", content=content, headers={"Content-Type": "application/json"})
    assert response.json()["results"][-1] == {"name": name, "value": 1000}


async def test_request_id_is_kept_when_sane_and_made_otherwise(client: httpx.AsyncClient) -> None:
    mine = uuid.uuid4().hex
    for path in ("/counter", "/nothing-here"):
        assert (await client.get(path, headers={"X-Request-Id": mine})).headers["X-Request-Id"] == mine
        made = {(await client.get(path)).headers["X-Request-Id"] for _ in range(5)}
        assert len(made) == 5
    strange = (await client.get("/counter", headers={"X-Request-Id": "a b;<c>"})).headers.get_list("X-Request-Id")
    assert len(strange) == 1
    assert strange[0] != "a b;<c>"


async def test_nothing_is_said_about_what_runs_inside(client: httpx.AsyncClient) -> None:
    for path in ("/counter", "/nothing-here", "/v1/users/0"):
        names = {name.lower() for name in (await client.get(path)).headers}
        assert not names & {"server", "x-envoy-upstream-service-time", "x-envoy-attempt-count", "x-powered-by"}


async def raw(gateway: str, request: bytes) -> tuple[int, str, str]:
    """Send exactly these bytes. Returns the status, the head and the body of the answer."""
    address = urlsplit(gateway)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request)
        async with asyncio.timeout(30):
            answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split(" ", 2)[1]), head, body


@pytest.mark.parametrize("method", ["FOO", "PROPFIND"])
async def test_method_that_nobody_knows(gateway: str, client: httpx.AsyncClient, method: str) -> None:
    assert problem(await client.request(method, "/v1/users")) == (501, "unknown-method")
    address = urlsplit(gateway)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(http2_frames.opening() + http2_frames.get(1, "/v1/users", method=method))
    async with asyncio.timeout(30):
        assert b"urn:evenkeel:problem:unknown-method" in await http2_frames.body(reader)
    writer.close()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/counters:batch", {"POST"}),
        ("GET", "/v1/counters:import", {"POST"}),
        ("POST", "/v1/counters:export", {"GET"}),
        ("DELETE", "/v1/counters:batch", {"POST"}),
        ("POST", "/v1/counters/a", {"GET", "PUT", "DELETE"}),
        ("POST", "/v1/counters/a/events", {"GET"}),
        ("POST", "/v1/counters/a/badge.svg", {"GET", "HEAD"}),
        ("GET", "/v1/counters/a/increment", {"POST"}),
        ("DELETE", "/v1/users", {"GET", "POST"}),
        ("POST", "/v1/users/1", {"GET", "PATCH", "DELETE"}),
        ("TRACE", "/v1/users/1", {"GET", "PATCH", "DELETE"}),
        ("POST", "/counter", {"GET"}),
        ("POST", "/stats", {"GET"}),
        ("POST", "/", {"GET", "HEAD"}),
        ("POST", "/docs", {"GET", "HEAD"}),
        ("POST", "/openapi/user-api.json", {"GET"}),
        ("POST", "/openapi/counter-api.json", {"GET"}),
        ("POST", "/docs/assets/swagger-ui.css", {"GET", "HEAD"}),
    ],
)
async def test_every_405_says_what_is_allowed(
    client: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    """RFC 9110, 15.5.6."""
    response = await client.request(method, path)
    assert problem(response) == (405, "method-not-allowed")
    assert allowed | ({"HEAD"} if "GET" in allowed else set()) <= set(response.headers["Allow"].split(", "))


async def test_documentation_assets_come_whole(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs/assets/swagger-ui.css", headers={"Range": "bytes=9-1"})
    assert response.status_code == 200
