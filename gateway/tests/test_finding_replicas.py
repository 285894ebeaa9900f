"""How the gateway finds replicas by DNS, with answers of any age: the real Envoy, a name server, and small pods."""

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.dns_gateway import DnsGateway, dns_gateway
from tests.support.pods import Pod, Services

from stack.layout import free_port
from verify.connection import Connection

pytestmark = pytest.mark.anyio

SERVICES = ("user-api", "counter-api")

REQUESTS = {
    "user-api": [("GET", "/v1/users/1"), ("POST", "/v1/users")],
    "counter-api": [("GET", "/v1/counters/a"), ("POST", "/v1/counters/a/increment")],
}


class Cluster:
    """Two pods of each service behind the gateway, and a load of reads and of changes without a key."""

    def __init__(self, gateway: DnsGateway) -> None:
        self.gateway = gateway
        self.services = gateway.services
        self.failures: list[str] = []
        self.answered: Counter[str] = Counter()

    @asynccontextmanager
    async def loaded(self) -> AsyncIterator[None]:
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for service in SERVICES:
                for method, path in REQUESTS[service] * 2:
                    group.create_task(self._work(stopping, service, method, path))
            try:
                yield
            finally:
                stopping.set()

    async def _work(self, stopping: asyncio.Event, service: str, method: str, path: str) -> None:
        async with Connection(self.gateway.url) as connection:
            while not stopping.is_set():
                reply = await connection.request(method, path)
                self.answered[service] += 1
                if reply.status != 200 or reply.headers["x-served-by"] != service:
                    self.failures.append(f"{self.services.now:g} s, {method} {path}: {reply}")
                await asyncio.sleep(0.005)

    async def answers(self, more: int = 30) -> None:
        goal = {service: self.answered[service] + more for service in SERVICES}
        await until(lambda: all(self.answered[service] >= goal[service] for service in SERVICES))

    async def later(self, seconds: float) -> None:
        """Let time pass, until Envoy uses the DNS answers of then."""
        self.services.now += seconds
        await self.gateway.looked_up()
        await self.answers()

    async def start(self, service: str, address: str | None = None) -> Pod:
        pod = await self.services.add(service, address)
        await self.later(2)
        pod.ready = True
        await self.services.refresh(service)
        await self.later(5)
        return pod

    async def stop(self, pod: Pod) -> None:
        """As Kubernetes does: 15 s of preStop, then SIGTERM, after which a replica serves for 3 s more."""
        pod.terminating = True
        await self.services.refresh(pod.service)
        await self.later(15)
        pod.draining = True
        await until_true(lambda: self.left(pod))
        await self.later(3)
        await self.services.end(pod)
        await self.later(2)

    async def left(self, pod: Pod) -> bool:
        return not await self.back(pod)

    async def back(self, pod: Pod) -> bool:
        """Whether Envoy has found the pod ready."""
        return pod.address in await self.gateway.healthy(pod.service)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.01)


async def until_true(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def cluster_of(directory: Path, age: float) -> AsyncIterator[Cluster]:
    services = Services(free_port(), age)
    for service in SERVICES:
        for _ in range(2):
            (await services.add(service)).ready = True
        await services.refresh(service)
    services.now = 1000  # the pods have been there for longer than any answer is old
    try:
        async with dns_gateway(directory, services) as gateway:
            for service in SERVICES:
                expected = {pod.address for pod in services.of(service)} | set(
                    services.resolve(f"{service}-ready") or ()
                )
                await until_true(functools.partial(healthy, gateway, service, expected))
            yield Cluster(gateway)
    finally:
        await services.close()


async def healthy(gateway: DnsGateway, service: str, expected: set[str]) -> bool:
    return await gateway.healthy(service) == expected


@pytest.mark.parametrize(
    "age", [0, pytest.param(5, marks=pytest.mark.slow), 30, pytest.param(300, marks=pytest.mark.slow)]
)
async def test_replicas_replaced_one_after_the_other(tmp_path: Path, age: float) -> None:
    async with cluster_of(tmp_path, age) as cluster, cluster.loaded():
        await cluster.answers()
        for pod in cluster.services.of("user-api"):
            await cluster.start("user-api")
            await cluster.stop(pod)
        await cluster.later(300)
    assert cluster.failures == []


async def test_another_pod_at_the_address_of_an_old_one_gets_nothing(tmp_path: Path) -> None:
    """The answers of DNS are so old that they name the old pod's address for the new one's service."""
    async with cluster_of(tmp_path, 300) as cluster:
        services = cluster.services
        [old, _] = services.of("user-api")
        async with cluster.loaded():
            await cluster.stop(old)
            stranger = await cluster.start("counter-api", old.address)
            assert old.address in (services.resolve("user-api") or ())
            await cluster.answers()
    assert cluster.failures == []
    assert stranger.received == 0, "DNS does not name it for its own service yet"


async def test_while_no_replica_is_ready_those_that_live_get_the_requests(tmp_path: Path) -> None:
    """A reader may get a cached value. A replica without a schema answers 503."""
    async with cluster_of(tmp_path, 0) as cluster:
        pods = cluster.services.of("user-api")
        for pod in pods:
            pod.ready = False
        await cluster.services.refresh("user-api")
        # Until then Envoy may take the second name for ready, whose address refuses connections.
        await until_true(lambda: healthy(cluster.gateway, "user-api", set()))
        async with cluster.loaded():
            await cluster.answers(50)
        assert cluster.failures == []
        assert all(pod.received for pod in pods)
        for pod in pods:
            pod.schema = False
        async with Connection(cluster.gateway.url) as connection:
            assert (await connection.request("POST", "/v1/users")).status == 503


async def test_a_name_that_does_not_exist_any_more(tmp_path: Path) -> None:
    """As that of a headless Service of which DNS has seen no pod."""
    async with cluster_of(tmp_path, 0) as cluster:
        cluster.services.unknown.add("user-api")
        async with cluster.loaded():
            await cluster.later(1)
            [ready] = cluster.services.resolve("user-api-ready") or []
            assert await cluster.gateway.addresses("user-api") == {ready}
            await cluster.answers()
        assert cluster.failures == []
        for pod in cluster.services.of("user-api"):
            await cluster.services.end(pod)
        await cluster.services.refresh("user-api")
        async with Connection(cluster.gateway.url) as connection:
            reply = await connection.request("GET", "/v1/users/1")
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert reply.json()["type"] == "urn:evenkeel:problem:unavailable"


async def test_one_ready_replica_is_enough_for_the_first_name(tmp_path: Path) -> None:
    """By default, the second name would get requests as soon as a third of the replicas are not ready."""
    async with cluster_of(tmp_path, 0) as cluster, cluster.loaded():
        one, *_ = cluster.services.of("user-api")
        one.ready = False
        await cluster.services.refresh("user-api")
        await until_true(lambda: cluster.left(one))
        [virtual] = cluster.services.resolve("user-api-ready") or []
        before = await cluster.gateway.requests("user-api", virtual)
        await cluster.answers(200)
        assert await cluster.gateway.requests("user-api", virtual) == before
    assert cluster.failures == []


async def test_the_second_name_is_ready_while_any_replica_is(tmp_path: Path) -> None:
    """A health check on an old connection would only know the replica to which that connection leads."""
    async with cluster_of(tmp_path, 0) as cluster:
        [virtual] = cluster.services.resolve("user-api-ready") or []
        for pod in cluster.services.of("user-api"):
            pod.ready = False
            await cluster.services.refresh("user-api")
            await until_true(lambda pod=pod: cluster.left(pod))  # type: ignore[misc]
            for _ in range(20):
                assert virtual in await cluster.gateway.healthy("user-api")
                await asyncio.sleep(0.1)
            pod.ready = True
            await cluster.services.refresh("user-api")
            await until_true(lambda pod=pod: cluster.back(pod))  # type: ignore[misc]


async def test_both_names_may_have_the_same_addresses(tmp_path: Path) -> None:
    """As in compose, where both are aliases of the containers."""
    async with cluster_of(tmp_path, 0) as cluster:
        cluster.services.aliases = True
        async with cluster.loaded():
            await cluster.later(1)
            for pod in cluster.services.of("user-api"):
                await cluster.start("user-api")
                await cluster.stop(pod)
            expected = {pod.address for pod in cluster.services.of("user-api")}
            await until_true(lambda: healthy(cluster.gateway, "user-api", expected))
            await cluster.answers()
    assert cluster.failures == []
