"""Services of a small cluster: pods with addresses of their own, DNS answers of a chosen age, and a virtual address.

The time is a number that a test moves on. So the age of DNS answers does not depend on how fast the machine is.
"""

import asyncio
import contextlib
import itertools
import random
from dataclasses import dataclass, field


@dataclass
class Pod:
    """Answers every request with 200, or with 503 if it has no schema. `/readyz` is what it says about itself."""

    service: str
    address: str
    ready: bool = False
    schema: bool = True
    terminating: bool = False
    """It is being deleted. It serves until it has ended, but its service no longer counts it as ready."""
    draining: bool = False
    received: int = 0
    """Requests except health checks."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _busy: int = 0
    _server: asyncio.Server | None = None

    async def listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._connected, self.address, port)

    async def end(self) -> None:
        """As a replica ends: no new connections, and requests under way are answered."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        while self._busy:  # noqa: ASYNC110 (soon over)
            await asyncio.sleep(0.001)
        for writer in self._writers:
            writer.close()

    @property
    def answers_readyz(self) -> bool:
        return self.ready and self.schema and not self.draining

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self._busy += 1
                try:
                    writer.write(self._answer(head))
                    await writer.drain()
                finally:
                    self._busy -= 1
                if self.draining or self._server is None:
                    break
        self._writers.discard(writer)
        writer.close()

    def _answer(self, head: str) -> bytes:
        if head.startswith("GET /readyz "):
            good = self.answers_readyz
        else:
            self.received += 1
            good = self.schema
        status = "200 OK" if good else "503 Service Unavailable"
        fields = [f"X-Envoy-Upstream-Healthchecked-Cluster: {self.service}", f"X-Served-By: {self.service}"]
        if self.draining:
            fields.append("Connection: close")
        return "\r\n".join([f"HTTP/1.1 {status}", *fields, "Content-Length: 0", "", ""]).encode()


class Services:
    """All services. DNS answers are `age` seconds old.

    The name of a service has the addresses of all of its pods (publishNotReadyAddresses). With `-ready` behind it, the
    name has one address, which passes each new connection on to a pod that is ready, and refuses it if there is none.
    """

    def __init__(self, port: int, age: float = 0) -> None:
        self.port = port
        self.age = age
        self.now = 0.0
        self.pods: list[Pod] = []
        self.unknown: set[str] = set()
        """Services whose name does not exist."""
        self.aliases = False
        """Whether both names of a service have the same addresses."""
        self._addresses = (f"127.{random.randint(2, 250)}.{last // 250}.{last % 250 + 1}" for last in itertools.count())
        self._published: dict[str, list[tuple[float, list[str]]]] = {}
        self._virtual: dict[str, _VirtualAddress] = {}

    def of(self, service: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.service == service]

    async def add(self, service: str, address: str | None = None) -> Pod:
        """A new pod, which is not ready yet."""
        pod = Pod(service, address or next(self._addresses))
        await pod.listen(self.port)
        self.pods.append(pod)
        self._publish(service)
        return pod

    async def end(self, pod: Pod) -> None:
        await pod.end()
        self.pods.remove(pod)
        self._publish(pod.service)

    async def refresh(self, service: str) -> None:
        """Let the virtual address follow the pods' readiness."""
        if service not in self._virtual:
            self._virtual[service] = _VirtualAddress(next(self._addresses), self.port)
        await self._virtual[service].serve(
            [pod for pod in self.of(service) if pod.answers_readyz and not pod.terminating]
        )

    def resolve(self, name: str) -> list[str] | None:
        service = name.removesuffix("-ready")
        if name in self.unknown:
            return None
        if self.aliases:
            return [pod.address for pod in self.of(service)]
        if service != name:
            return [self._virtual[service].address] if service in self._virtual else None
        history = self._published.get(name, [])
        seen = [addresses for since, addresses in history if since <= self.now - self.age]
        return (seen[-1] if seen else history[0][1] if history else []) or None

    def _publish(self, service: str) -> None:
        addresses = [pod.address for pod in self.of(service)]
        self._published.setdefault(service, []).append((self.now, addresses))

    async def close(self) -> None:
        for virtual in self._virtual.values():
            await virtual.serve([])
        for pod in self.pods:
            await pod.end()


class _VirtualAddress:
    """As kube-proxy: it chooses a pod for each connection, not for each request."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self._port = port
        self._pods: list[Pod] = []
        self._server: asyncio.Server | None = None

    async def serve(self, pods: list[Pod]) -> None:
        self._pods = pods
        if pods and self._server is None:
            self._server = await asyncio.start_server(self._connected, self.address, self._port)
        elif not pods and self._server is not None:
            self._server.close()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._pods:
            writer.transport.abort()
            return
        try:
            inner_reader, inner_writer = await asyncio.open_connection(random.choice(self._pods).address, self._port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
