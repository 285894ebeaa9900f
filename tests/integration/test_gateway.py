"""What the gateway lets through, what it answers itself, and in which form."""

import asyncio
import json
import uuid
from urllib.parse import urlsplit

import httpx
import pytest
from tests.problems import problem

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
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


@pytest.mark.parametrize("path", ["/v1/users", "/v1/counters/a/increment", "/v1/counters:batch"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_body_over_64_kib(client: httpx.AsyncClient, path: str, *, chunked: bool) -> None:
    async def chunks() -> object:
        for _ in range(70):
            yield b"x" * 1024

    content = chunks() if chunked else b"x" * 70 * 1024
    response = await client.post(path, content=content, headers={"Content-Type": "application/json"})  # type: ignore[arg-type]
    assert problem(response) == (413, "content-too-large")


async def test_body_of_almost_64_kib_gets_through(client: httpx.AsyncClient, name: str) -> None:
    operations = [{"name": name} for _ in range(1000)]
    content = json.dumps({"operations": operations}).ljust(64 * 1024 - 1).encode()
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
    """Send bytes as they are; the status, the head and the body of the answer."""
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


async def test_method_that_nobody_knows_over_http_2(gateway: str) -> None:
    """HTTP/1.1 parsers refuse such a method; HTTP/2 carries it, here in frames written by hand (RFC 9113, RFC 7541)."""
    fields = ((b":method", b"FOO"), (b":scheme", b"http"), (b":path", b"/v1/users"), (b":authority", b"localhost"))
    block = b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    end_of_headers_and_stream = b"\x05"
    headers = len(block).to_bytes(3) + b"\x01" + end_of_headers_and_stream + (1).to_bytes(4) + block
    address = urlsplit(gateway)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + headers)
    answer = b""
    async with asyncio.timeout(30):
        while b'"type"' not in answer and (received := await reader.read(65536)):
            answer += received
    writer.close()
    assert b"urn:evenkeel:problem:method-not-allowed" in answer


async def test_documentation_assets_come_whole(client: httpx.AsyncClient) -> None:
    response = await client.get("/docs/assets/swagger-ui.css", headers={"Range": "bytes=9-1"})
    assert response.status_code == 200
