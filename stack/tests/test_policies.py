"""What the gateway does for replicas and callers: the real Envoy, before upstreams that misbehave on demand."""

import asyncio
import collections
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.fleet import NOTICED_WITHIN
from stack.gateway import Gateway
from stack.layout import Layout, free_port, repository_root
from stack.process import Process
from stack.state import State

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "k"}


@dataclass
class Upstream:
    """A replica that answers 200, unless the path ends in /<behaviour> or ?<behaviour>.

    Of what it does once only the first request counts. What it does slowly takes two seconds, in ten pieces.
    """

    port: int
    received: collections.Counter[str]
    misbehaved: set[str] = field(default_factory=set)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        headers = httpx.Headers([(name, value) for name, _, value in _fields(head)])
        if path != "/readyz":
            self.received[f"{method} {path}"] += 1
        await _read_body(reader, headers)
        behaviour = re.split("[/?]", path)[-1]
        status = "200 OK"
        if behaviour in {"reset-once", "fail-once"} and behaviour not in self.misbehaved:
            self.misbehaved.add(behaviour)
            if behaviour == "reset-once":
                return False
            status = "503 Service Unavailable"
        if behaviour == "slowly":
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 10\r\n\r\n".encode())
            for _ in range(10):
                await asyncio.sleep(0.2)
                writer.write(b"x")
            return True
        body = f"{headers.get('x-request-id')} {headers.get('x-envoy-retry-on')}"
        writer.write(f"HTTP/1.1 {status}\r\nServer: secret\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        return True


async def _read_body(reader: asyncio.StreamReader, headers: httpx.Headers) -> None:
    if headers.get("transfer-encoding") != "chunked":
        await reader.readexactly(int(headers.get("content-length", "0")))
        return
    size = 1
    while size:
        size = int(await reader.readuntil(b"\r\n"), 16)
        await reader.readexactly(size + 2)


def _fields(head: str) -> list[tuple[str, str, str]]:
    return [line.partition(": ") for line in head.split("\r\n")[1:-2]]


@asynccontextmanager
async def _upstream(received: collections.Counter[str], misbehaved: set[str]) -> AsyncIterator[Upstream]:
    upstream = Upstream(free_port(), received, misbehaved)
    server = await asyncio.start_server(upstream.connected, "127.0.0.1", upstream.port)
    try:
        yield upstream
    finally:
        server.close()


@dataclass
class Bench:
    client: httpx.AsyncClient
    gateway: Gateway
    received: collections.Counter[str]
    """Requests that reached an upstream."""

    ports: set[int]
    """Of the upstreams."""

    async def publish(self, ports: set[int], service: str = "user-api") -> None:
        self.gateway.publish(service, ports)
        async with asyncio.timeout(NOTICED_WITHIN):
            while await self.gateway.healthy_ports(service) != ports:  # noqa: ASYNC110 (Envoy's state)
                await asyncio.sleep(0.02)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """The gateway before two replicas of user-api that misbehave once between them, and none of counter-api."""
    async with _bench(tmp_path) as bench:
        yield bench


@pytest.fixture
async def hasty_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """As `bench`, with every limit of 5 to 60 seconds shortened to one."""
    async with _bench(tmp_path, (r'"(5|15|30|60)s"', '"1s"')) as bench:
        await bench.publish(bench.ports, "counter-api")
        yield bench


@asynccontextmanager
async def _bench(tmp_path: Path, *changes: tuple[str, str]) -> AsyncIterator[Bench]:
    layout = Layout(tmp_path / "stack", repository_root())
    layout.make()
    received: collections.Counter[str] = collections.Counter()
    misbehaved: set[str] = set()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, layout.sockets)
        upstreams = [await stack.enter_async_context(_upstream(received, misbehaved)) for _ in range(2)]
        gateway = Gateway(layout, free_port())
        gateway.publish("user-api", [])
        gateway.publish("counter-api", [])
        gateway.prepare()
        for pattern, replacement in changes:
            gateway._configuration.write_text(re.sub(pattern, replacement, gateway._configuration.read_text()))
        process = Process(gateway.program(), log_file=layout.log("gateway"), state=State(layout.state))
        await process.start()
        stack.push_async_callback(process.stop)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url))
        bench = Bench(client, gateway, received, {upstream.port for upstream in upstreams})
        await bench.publish(bench.ports)
        yield bench


def _problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-served-by"] == "gateway"
    assert response.headers["x-request-id"]
    assert "server" not in response.headers
    document: dict[str, Any] = response.json()
    assert document.keys() == {"type", "title", "status", "detail"}
    assert document["status"] == response.status_code
    return response.status_code, document["type"].removeprefix("urn:evenkeel:problem:")


async def test_what_may_be_repeated_is_repeated_elsewhere(bench: Bench) -> None:
    for behaviour in ("reset-once", "fail-once"):
        response = await bench.client.get(f"/v1/users/{behaviour}")
        assert response.status_code == 200
        assert bench.received[f"GET /v1/users/{behaviour}"] == 2


async def test_a_change_of_a_counter_with_a_key_is_repeated(bench: Bench) -> None:
    await bench.publish(bench.ports, "counter-api")
    response = await bench.client.post("/v1/counters/reset-once", headers=KEY, content=b"x")
    assert response.status_code == 200
    assert bench.received["POST /v1/counters/reset-once"] == 2
    assert (await bench.client.post("/v1/counters/fail-once")).status_code == 503
    assert bench.received["POST /v1/counters/fail-once"] == 1


async def test_a_change_of_a_user_is_sent_once_key_or_not(bench: Bench) -> None:
    response = await bench.client.post("/v1/users/reset-once", headers=KEY, content=b"x")
    assert _problem(response) == (503, "unavailable")
    assert bench.received["POST /v1/users/reset-once"] == 1


async def test_a_change_without_a_key_is_sent_once(bench: Bench) -> None:
    response = await bench.client.post("/v1/users/reset-once")
    assert _problem(response) == (503, "unavailable")
    assert "is not known" in response.json()["detail"]
    assert response.headers["retry-after"] == "1"
    assert bench.received["POST /v1/users/reset-once"] == 1


async def test_a_change_that_was_refused_is_not_repeated(bench: Bench) -> None:
    assert (await bench.client.patch("/v1/users/fail-once")).status_code == 503
    assert bench.received["PATCH /v1/users/fail-once"] == 1


async def test_a_service_without_replicas(bench: Bench) -> None:
    response = await bench.client.get("/v1/counters/a")
    assert _problem(response) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/", "/metrics", "/livez", "/readyz", "/counter/", "/openapi.json", "/v2/users"])
async def test_what_is_not_routed(bench: Bench, path: str) -> None:
    assert _problem(await bench.client.get(path)) == (404, "not-found")
    assert not bench.received


async def test_a_body_may_have_64_kib(bench: Bench) -> None:
    assert (await bench.client.post("/v1/users", content=b"x" * 65536)).status_code == 200
    assert _problem(await bench.client.post("/v1/users", content=b"x" * 65537)) == (413, "content-too-large")
    assert bench.received["POST /v1/users"] == 1


async def test_an_import_may_have_any_length(bench: Bench) -> None:
    await bench.publish(bench.ports, "counter-api")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    for content in (b"x" * 1_000_000, chunks()):
        for headers in ({}, KEY):
            response = await bench.client.post("/v1/counters:import", content=content, headers=headers)
            assert response.status_code == 200
            content = chunks()  # noqa: PLW2901 (an iterator is used up)
    assert _problem(await bench.client.post("/v1/counters:batch", content=chunks())) == (413, "content-too-large")


async def test_an_import_is_repeated_if_it_carries_a_key(bench: Bench) -> None:
    await bench.publish(bench.ports, "counter-api")
    for behaviour in ("reset-once", "fail-once"):
        path = f"/v1/counters:import?{behaviour}"
        assert (await bench.client.post(path, headers=KEY, content=b"x" * 100_000)).status_code == 200
        assert bench.received[f"POST {path}"] == 2
    assert (await bench.client.post("/v1/counters:import?fail-once")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/counters:import?fail-once"),
        ("GET", "/v1/counters:export?fail-once"),
        ("GET", "/v1/counters/a/badge.svg?hit=true&fail-once"),
        ("GET", "/counter?fail-once"),
        ("DELETE", "/v1/uniques/fail-once"),
    ],
)
async def test_what_is_sent_once(bench: Bench, method: str, path: str) -> None:
    await bench.publish(bench.ports, "counter-api")
    path = path.replace("&", "&x=?")  # where the upstream looks for what it is to do
    assert (await bench.client.request(method, path)).status_code == 503
    assert bench.received[f"{method} {path}"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/counters/a/events?reset-once"),
        ("GET", "/v1/counters/a/badge.svg?fail-once"),
        ("POST", "/v1/uniques/fail-once"),
        ("GET", "/v1/uniques/reset-once"),
    ],
)
async def test_what_changes_nothing_when_repeated_is_repeated(bench: Bench, method: str, path: str) -> None:
    await bench.publish(bench.ports, "counter-api")
    assert (await bench.client.request(method, path)).status_code == 200
    assert bench.received[f"{method} {path}"] == 2


@pytest.mark.parametrize("path", ["/v1/counters/a/events?slowly", "/v1/counters:export?slowly"])
async def test_no_limit_cuts_an_answer_that_goes_on(hasty_bench: Bench, path: str) -> None:
    response = await hasty_bench.client.get(path)
    assert (response.status_code, response.content) == (200, b"x" * 10)


async def test_no_limit_cuts_an_import_that_goes_on(hasty_bench: Bench) -> None:
    for headers in ({}, KEY):
        response = await hasty_bench.client.post("/v1/counters:import", content=_slowly(), headers=headers)
        assert response.status_code == 200


async def test_everything_else_has_its_time(hasty_bench: Bench) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await hasty_bench.client.get("/v1/users/slowly")
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty_bench.gateway.port)
    writer.write(b"POST /v1/counters:batch HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx")
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def _slowly() -> AsyncIterator[bytes]:
    """A body that takes two seconds."""
    for _ in range(10):
        await asyncio.sleep(0.2)
        yield b"x"


@pytest.mark.parametrize(
    ("path", "headers"), [("/v1/users%2F1", {}), ("/v1/users%5c1", {}), ("/v1/users", {"a_b": "1"})]
)
async def test_ambiguous_requests_are_refused(bench: Bench, path: str, headers: dict[str, str]) -> None:
    assert _problem(await bench.client.get(path, headers=headers)) == (400, "bad-request")


@pytest.mark.parametrize("given", ["abc-1.2_Z", "01234567-89ab-cdef-0123-456789abcdef", "x" * 128])
async def test_a_plain_request_id_is_kept(bench: Bench, given: str) -> None:
    response = await bench.client.get("/v1/users/1", headers={"X-Request-Id": given})
    assert response.text.split()[0] == response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", '"', "x" * 129, "{}"])
async def test_another_request_id_is_replaced(bench: Bench, given: str) -> None:
    response = await bench.client.get("/v1/users/1", headers={"X-Request-Id": given})
    assert response.text.split()[0] == response.headers["x-request-id"] != given
    assert len(response.headers["x-request-id"]) == 36


async def test_callers_do_not_give_orders_and_learn_nothing_of_the_server(bench: Bench) -> None:
    response = await bench.client.get("/v1/users/1", headers={"X-Envoy-Retry-On": "5xx"})
    assert response.text.split()[1] == "None"
    assert not [name for name in response.headers if name == "server" or name.startswith("x-envoy")]


async def test_the_documentation_page(bench: Bench) -> None:
    response = await bench.client.get("/docs")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (response.headers["x-served-by"], len(response.headers["x-request-id"])) == ("gateway", 36)
    assert response.text == (repository_root() / "gateway" / "docs.html").read_text()


async def test_a_replica_that_leaves_gets_nothing_more(bench: Bench) -> None:
    [stays, _] = sorted(await bench.gateway.healthy_ports("user-api"))
    await bench.publish({stays})
    assert await bench.gateway.healthy_ports("user-api") == {stays}
    for _ in range(20):
        assert (await bench.client.get("/v1/users/1")).status_code == 200
