"""Requests that the gateway and the services behind it could read in different ways, or that do not end."""

import asyncio
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.problems import problem

pytestmark = pytest.mark.anyio

HEAD = "POST /v1/counters/{name}.outer/increment HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HIDDEN = "POST /v1/counters/{name}/increment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"

SMUGGLED = {
    "CL.TE": "Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE.CL": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{size:x}\r\n" + HIDDEN + "\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: {length}\r\n\r\n" + HIDDEN,
    "a list of lengths": "Content-Length: 0, {length}\r\n\r\n" + HIDDEN,
    "length with a sign": "Content-Length: +0\r\n\r\n" + HIDDEN,
    "length in hexadecimal": "Content-Length: 0x0\r\n\r\n" + HIDDEN,
    "space before the colon": "Content-Length: {length}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "another coding": "Content-Length: {length}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "coding not last": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "coding twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "folded coding": "Content-Length: {length}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "tab in the name": "Content-Length: {length}\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "null in the coding": "Content-Length: {length}\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n" + HIDDEN,
    "chunk too long to count": "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + HIDDEN,
    "negative chunk": "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + HIDDEN,
    "line feeds alone": "Transfer-Encoding: chunked\n\n0\n\n" + HIDDEN,
    "upgrade": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: {length}\r\n\r\n" + HIDDEN,
}

DETOURS = [
    *("/v1/counters/../../metrics", "/v1/counters/%2e%2e/%2e%2e/metrics", "/v1//..//metrics", "/%2e%2e/metrics"),
    *("/v1/counters/..%2f..%2fmetrics", "/v1/counters/..;/..;/metrics", "/v1/counters/%252e%252e/metrics"),
    *(
        "/metrics#/v1/counters",
        "http://localhost/metrics",
        "\\metrics",
        "/metrics/.",
        "/./metrics",
        "/v1/%00/../metrics",
    ),
    *("/livez", "/readyz", "/%72eadyz", "//readyz", "/openapi.json", "/docs/assets/../../metrics"),
]
REFUSALS = {b"400", b"404", b"409", b"422"}


async def test_no_request_hides_in_another(gateway: str, client: httpx.AsyncClient, name: str) -> None:
    counters = {how: f"{name}:{place}" for place, how in enumerate(SMUGGLED)}

    async def smuggle(how: str) -> None:
        hidden = HIDDEN.format(name=counters[how])
        text = (HEAD + SMUGGLED[how]).format(name=counters[how], length=len(hidden) + 5, size=len(hidden))
        await send(gateway, text.encode("latin-1"))

    # All of them at once, because the gateway takes a second to close a connection.
    await asyncio.gather(*map(smuggle, SMUGGLED))
    # The answer to a hidden request would go to the next request on the same connection to a replica.
    for _ in range(8):
        executed = [how for how in SMUGGLED if (await client.get(f"/v1/counters/{counters[how]}")).status_code != 404]
        assert executed == []


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0"])
async def test_versions_that_nobody_needs(gateway: str, version: str) -> None:
    answer = await send(gateway, f"GET /counter {version}\r\nHost: localhost\r\n\r\n".encode())
    assert answer.partition(b"\r\n")[0].split()[1:2] in ([b"400"], [b"426"], [b"505"])


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Long": "x" * 70_000},
        {f"X-{n}": "x" for n in range(200)},
        {f"X-{n}": "x" * 1000 for n in range(90)},
    ],
    ids=["one long field", "many fields", "much in all"],
)
async def test_oversized_headers(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert problem(await client.get("/counter", headers=headers)) == (431, "headers-too-large")


async def test_a_long_address(gateway: str) -> None:
    answer = await send(gateway, b"GET /v1/counters/" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.partition(b"\r\n")[0].split()[1:2] in ([b"414"], [b"431"])


async def test_no_path_leads_to_what_is_not_routed(gateway: str) -> None:
    async def follow(path: str) -> bytes:
        return await send(gateway, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    answers = dict(zip(DETOURS, await asyncio.gather(*map(follow, DETOURS)), strict=True))
    assert {path: answer for path, answer in answers.items() if answer.split(b" ", 2)[1] not in REFUSALS} == {}


async def test_thousands_of_connections_that_say_nothing_are_in_nobodys_way(
    gateway: str, client: httpx.AsyncClient, name: str
) -> None:
    address = urlsplit(gateway)
    idle = await asyncio.gather(*(asyncio.open_connection(address.hostname, address.port) for _ in range(2000)))
    try:
        for number, (_, writer) in enumerate(idle):
            # Half of them have begun a request and do not continue it.
            if number % 2:
                writer.write(b"POST /v1/users HTTP/1.1\r\nHost: localhost\r\nContent-Le")
        values = [(await client.post(f"/v1/counters/{name}/increment")).json()["value"] for _ in range(20)]
        assert values == list(range(1, 21))
    finally:
        for _, writer in idle:
            writer.transport.abort()


async def send(gateway: str, request: bytes) -> bytes:
    """Everything that arrives until the gateway closes, or sends nothing for a while."""
    address = urlsplit(gateway)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    answer = b""
    try:
        writer.write(request)
        async with asyncio.timeout(2):
            while received := await reader.read(65536):
                answer += received
    except (TimeoutError, ConnectionResetError):
        pass
    finally:
        writer.close()
    return answer
