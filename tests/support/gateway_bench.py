"""The real gateway, in front of upstreams that misbehave on demand."""

import asyncio
import collections
import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from tests.support.problems import problem

from stack import access, browsers
from stack.access import Access
from stack.fleet import NOTICED_WITHIN
from stack.gateway import DRAIN_SECONDS, Gateway
from stack.http_probe import http_get
from stack.layout import Layout, free_port, repository_root
from stack.process import Process
from stack.state import State


@dataclass
class Upstream:
    """A replica that answers 200, unless the path ends in /<behaviour> or ?<behaviour>.

    A behaviour that ends in `-once` applies to the first request only. A slow answer takes two seconds, in ten pieces.
    An endless answer begins and continues for as long as the gateway waits. A silent one does not begin.
    """

    port: int
    received: collections.Counter[str]
    misbehaved: set[str] = field(default_factory=set)
    ready: bool = True
    broken: bool = False
    """It breaks off every request, even if its health check succeeds."""
    asked: int = 0
    """The number of requests that reached this upstream."""

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
            self.asked += 1
        await _read_body(reader, headers)
        if self.broken and path.startswith("/v1/"):
            return False
        behaviour = re.split("[/?]", path)[-1]
        status = "200 OK"
        if behaviour in {"reset-once", "fail-once"} and behaviour not in self.misbehaved:
            self.misbehaved.add(behaviour)
            if behaviour == "reset-once":
                return False
            status = "503 Service Unavailable"
        if (path == "/readyz" and not self.ready) or behaviour == "no-database":
            status = "503 Service Unavailable"
        if behaviour == "slowly":
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 10\r\n\r\n".encode())
            for _ in range(10):
                await asyncio.sleep(0.2)
                writer.write(b"x")
            return True
        if behaviour in {"silent", "endless"}:
            if behaviour == "endless":
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 10\r\n\r\nx".encode())
            await reader.read()  # until the gateway closes
            return False
        told = ("x-request-id", "x-envoy-retry-on", "authorization", "x-evenkeel-subject")
        body = " ".join(str(headers.get(name)) for name in told)
        fields = _fields_for_envoy(path, behaviour, headers)
        head = f"HTTP/1.1 {status}\r\nServer: secret\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        writer.write(f"{head}{body}".encode())
        await writer.drain()
        return True


def _fields_for_envoy(path: str, behaviour: str, headers: httpx.Headers) -> str:
    if path == "/readyz":
        # Tests use the same upstreams for both services. In a health check, the host is the name of Envoy's cluster.
        return f"X-Envoy-Upstream-Healthchecked-Cluster: {headers['host'].removesuffix('-streams')}\r\n"
    return "X-Envoy-RateLimited: true\r\n" if behaviour == "no-database" else ""


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
    layout: Layout
    process: Process
    received: collections.Counter[str]
    """The requests that reached any upstream."""

    upstreams: list[Upstream]
    misbehaved: set[str]

    def forget_requests(self) -> None:
        """From now on, the replicas may misbehave once again, and `received` counts from zero."""
        self.received.clear()
        self.misbehaved.clear()

    @property
    def ports(self) -> set[int]:
        return {upstream.port for upstream in self.upstreams}

    async def ejected_ports(self) -> set[int]:
        """Replicas of user-api that Envoy has ejected for a while, because requests to them failed."""
        answer = await http_get("/clusters?format=json", unix_socket=self.layout.admin_socket)
        assert answer is not None
        return {
            host["address"]["socket_address"]["port_value"]
            for cluster in json.loads(answer.body)["cluster_statuses"]
            for host in cluster.get("host_statuses", [])
            if cluster["name"] == "user-api" and host["health_status"].get("failed_outlier_check")
        }

    async def publish(self, ports: set[int], service: str = "user-api") -> None:
        self.gateway.publish(service, ports)
        await self.until_healthy(ports, service)

    async def until_healthy(self, ports: set[int], service: str = "user-api") -> None:
        """Return when Envoy sends requests to these ports only."""
        async with asyncio.timeout(NOTICED_WITHIN):
            while await self.gateway.healthy_ports(service) != ports:  # noqa: ASYNC110 (Envoy has no event for it)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def gateway_bench(
    directory: Path,
    *changes: tuple[str, str],
    mode: Access = access.DEFAULT,
    pages: Mapping[str, str] = browsers.NONE,
    repository: Path | None = None,
    drain_seconds: int = DRAIN_SECONDS,
) -> AsyncIterator[Bench]:
    """Two replicas of user-api, which misbehave once in total, and no replica of counter-api.

    `changes` are patterns and replacements for the configuration, whose files are JSON here.
    """
    layout = Layout(directory / "stack", repository or repository_root())
    layout.make()
    received: collections.Counter[str] = collections.Counter()
    misbehaved: set[str] = set()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, layout.sockets)
        upstreams = [await stack.enter_async_context(_upstream(received, misbehaved)) for _ in range(2)]
        gateway = Gateway(layout, free_port(), mode, {**browsers.NONE, **pages})
        gateway.publish("user-api", [])
        gateway.publish("counter-api", [])
        gateway.prepare()
        for path in (gateway.bootstrap, gateway.listeners):
            for pattern, replacement in changes:
                path.write_text(re.sub(pattern, replacement, path.read_text()))
        program = gateway.program()
        argv = [str(drain_seconds) if word == str(DRAIN_SECONDS) else word for word in program.argv]
        program = replace(program, argv=argv)
        process = Process(program, log_file=layout.log("gateway"), state=State(layout.state))
        await process.start()
        stack.push_async_callback(process.stop)
        await gateway.check()
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=gateway.url))
        bench = Bench(client, gateway, layout, process, received, upstreams, misbehaved)
        await bench.publish(bench.ports)
        yield bench


def gateway_problem(response: httpx.Response) -> tuple[int, str]:
    """Like `problem`, for an answer of the gateway itself."""
    assert response.headers["x-served-by"] == "gateway"
    assert "server" not in response.headers
    assert response.json().keys() == {"type", "title", "status", "detail"}
    return problem(response)
