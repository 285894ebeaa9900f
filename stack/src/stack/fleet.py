"""The replicas of one service, and the list of them that the gateway gets."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from stack.errors import StackError
from stack.gateway import Gateway
from stack.layout import free_port
from stack.process import MakeProcess, Process
from stack.services import Service
from stack.sidecar import Sidecars
from stack.together import together

# Seconds in which Envoy must notice that a replica is ready or gone. Its health checks run every second.
NOTICED_WITHIN = 30.0
NOTICE_POLL = 0.05

# Envoy's main thread drops a replica a moment before its workers do.
WORKERS_LAG = 0.5


@dataclass(frozen=True, eq=False)
class Replica:
    """One replica and its sidecar, which start and stop together. The replica works without the sidecar, too."""

    number: int
    port: int
    process: Process
    sidecar: Process | None

    @property
    def retiring(self) -> bool:
        return self.process.phase == "draining"

    @property
    def processes(self) -> list[Process]:
        return [self.process, self.sidecar] if self.sidecar else [self.process]

    async def start(self) -> None:
        if self.sidecar:
            await self.sidecar.start()
        await self.process.start()

    async def heal(self) -> None:
        await together(process.heal() for process in self.processes)

    async def stop(self) -> None:
        for process in self.processes:
            await process.stop()


class Fleet:
    """Replicas numbered from 1, each on its own port. The gateway has a list of those that are ready."""

    def __init__(
        self, service: Service, gateway: Gateway, make_process: MakeProcess, sidecars: Sidecars | None = None
    ) -> None:
        self.name = service.name
        self._service = service
        self._gateway = gateway
        self._make_process = make_process
        self._sidecars = sidecars
        self._replicas: list[Replica] = []
        self._published: set[int] | None = None

    def __len__(self) -> int:
        """How many there are, without those that are being replaced or removed."""
        return sum(not replica.retiring for replica in self._replicas)

    @property
    def processes(self) -> list[Process]:
        """The processes of all replicas by number, including those that are being replaced."""
        in_order = sorted(self._replicas, key=lambda replica: replica.number)
        return [process for replica in in_order for process in replica.processes]

    def publish(self) -> None:
        """Give the gateway the list of ready replicas, if it has changed."""
        ports = {replica.port for replica in self._replicas if replica.process.phase == "healthy"}
        if ports != self._published:
            self._gateway.publish(self.name, ports)
            self._published = ports

    async def scale(self, count: int) -> None:
        """Start or stop replicas until there are `count`. The others go on as they are.

        Returns when all are ready and the gateway sends requests to exactly these.
        """
        taken = {replica.number for replica in self._replicas}
        free = (number for number in range(1, count + len(taken) + 1) if number not in taken)
        await self._start([next(free) for _ in range(count - len(self))])
        surplus = sorted(self._replicas, key=lambda replica: replica.number)[count:]
        await self._retire(surplus)
        await self.heal()

    async def restart(self) -> None:
        """Replace one replica after the other. Each gets requests before its predecessor stops getting them."""
        for old in list(self._replicas):
            await self._start([old.number])
            await self._until_gateway_agrees()
            await self._retire([old])

    async def heal(self) -> None:
        """Return when all replicas are ready and the gateway sends requests to them."""
        await together(replica.heal() for replica in self._replicas)
        await self._until_gateway_agrees()

    async def stop(self) -> None:
        await together(replica.stop() for replica in self._replicas)
        self._replicas.clear()

    async def _start(self, numbers: Iterable[int]) -> None:
        new = [self._new(number) for number in numbers]
        self._replicas += new
        try:
            await together(replica.start() for replica in new)
        except BaseException:
            await self._retire(new)
            raise

    def _new(self, number: int) -> Replica:
        port = free_port()
        read_url = self._sidecars.url(port) if self._sidecars else None
        program = self._service.replica(number, port, cache_read_url=read_url)
        sidecar = self._make_process(self._sidecars.program(number, port)) if self._sidecars else None
        return Replica(number, port, self._make_process(program, self.publish), sidecar)

    async def _retire(self, replicas: list[Replica]) -> None:
        """Take replicas out of the gateway, let them finish their requests, and stop them."""
        for replica in replicas:
            replica.process.drain()
        if replicas:
            await self._until_gateway_agrees()
            await asyncio.sleep(WORKERS_LAG)
        await together(replica.stop() for replica in replicas)
        self._replicas = [replica for replica in self._replicas if replica not in replicas]

    async def _until_gateway_agrees(self) -> None:
        self.publish()  # an earlier attempt may have failed on a full disk
        try:
            async with asyncio.timeout(NOTICED_WITHIN):
                while await self._gateway.healthy_ports(self.name) != self._published:  # noqa: ASYNC110 (Envoy's state)
                    await asyncio.sleep(NOTICE_POLL)
        except TimeoutError:
            raise StackError(f"the gateway does not see the replicas of {self.name} as ready") from None
