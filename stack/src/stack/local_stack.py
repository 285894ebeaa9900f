"""All processes of a stack, started and stopped in the order of their dependencies."""

import asyncio
from collections.abc import Callable
from typing import Any

from stack import access, browsers, services
from stack.backends import Backends
from stack.command import run
from stack.credentials import Credentials
from stack.errors import StackError
from stack.fleet import Fleet
from stack.gateway import Gateway
from stack.layout import Layout, port_is_free
from stack.options import DEFAULT_PORT, DEFAULT_REPLICAS, Options
from stack.process import Process, Program
from stack.sidecar import Sidecars
from stack.state import State
from stack.together import together


class LocalStack:
    """Data servers, replicas and the gateway. The supervisor runs one operation at a time."""

    def __init__(self, layout: Layout, options: Options, state: State) -> None:
        def make_process(program: Program, on_change: Callable[[], None] | None = None) -> Process:
            return Process(program, log_file=layout.log(program.name), state=state, on_change=on_change)

        self._layout = layout
        self._options = options
        credentials = Credentials.load_or_create(layout.secrets)
        self._backends = Backends.choose(options, layout, credentials, state, make_process)
        self._gateway = Gateway(
            layout, options.port or DEFAULT_PORT, options.access or access.DEFAULT, options.pages or browsers.NONE
        )
        self._gateway_process = make_process(self._gateway.program())
        self._user_api = services.user_api(
            database_url=self._backends.postgres.url,
            cache_url=self._backends.cache.url,
            cache_key=credentials.cache_key,
        )
        self._sidecars: Sidecars | None = None
        if options.sidecars:
            self._sidecars = Sidecars(self._backends.cache.url, credentials.redis_cache, layout)
        counter_api = services.counter_api(redis_url=self._backends.counters.url, uniques_key=credentials.uniques_key)
        self._fleets = {
            "user-api": Fleet(self._user_api, self._gateway, make_process, self._sidecars),
            "counter-api": Fleet(counter_api, self._gateway, make_process),
        }

    async def start(self) -> None:
        """Start everything and return when the gateway finds every replica ready.

        Raises StackError with the reason. The caller must then call `stop`.
        """
        if not port_is_free(self._gateway.port):
            raise StackError(
                f"port {self._gateway.port} on 127.0.0.1 is taken, perhaps by another stack;"
                " stop what listens there, or choose another port with PORT=…"
            )
        for fleet in self._fleets.values():
            fleet.publish()
        self._gateway.prepare()
        if self._sidecars:
            self._sidecars.make()
        await together(
            [
                self._start_gateway(),
                self._backends.cache.start(),
                self._start_users(),
                self._start_counters(),
            ]
        )

    async def adjust(self, options: Options) -> None:
        """Bring back what has died. Change access control and the numbers of replicas as the options say."""
        self._refuse_changes(options)
        await together([self._gateway_process.heal(), *(backend.heal() for backend in self._backends)])
        if options.access not in {None, self._gateway.access}:
            await self._gateway.reload(options.access)
        wanted = {"user-api": options.user_api_replicas, "counter-api": options.counter_api_replicas}
        await together(
            fleet.heal() if (count := wanted[name]) is None else fleet.scale(count)
            for name, fleet in self._fleets.items()
        )

    async def scale(self, service: str, count: int) -> None:
        await self._fleets[service].scale(count)

    async def restart(self, service: str) -> None:
        """Replace the replicas one by one. For user-api the migration comes first, because the code may be newer."""
        if service == self._user_api.name:
            await self._migrate()
        await self._fleets[service].restart()

    async def reload_gateway(self) -> None:
        """Give Envoy the repository's present configuration, and the present keys of access tokens."""
        await self._gateway.reload()

    async def stop(self) -> None:
        """Stop everything: clients before the servers that they use."""
        await self._gateway_process.stop()
        await together(fleet.stop() for fleet in self._fleets.values())
        await together(backend.stop() for backend in self._backends)

    async def status(self) -> dict[str, Any]:
        replicas = [process for fleet in self._fleets.values() for process in fleet.processes]
        entries = await asyncio.gather(
            *(process.status() for process in replicas),
            *(backend.status() for backend in self._backends),
        )
        gateway = await self._gateway_process.status() | {"access": self._gateway.access}
        return {"gateway": self._gateway.url, "processes": [*entries, gateway]}

    def phases(self) -> list[dict[str, Any]]:
        """Name, id and phase of each process that the stack runs, without probing any of them."""
        own = [backend.process for backend in self._backends if backend.process]
        replicas = [process for fleet in self._fleets.values() for process in fleet.processes]
        return [
            {"name": process.program.name, "pid": process.pid, "phase": process.phase}
            for process in (*own, *replicas, self._gateway_process)
            if process.pid is not None
        ]

    async def _start_gateway(self) -> None:
        await self._gateway_process.start()
        await self._gateway.check()

    async def _start_users(self) -> None:
        await self._backends.postgres.start()
        await self._migrate()
        await self._fleets["user-api"].scale(_or_default(self._options.user_api_replicas))

    async def _start_counters(self) -> None:
        await self._backends.counters.start()
        await self._fleets["counter-api"].scale(_or_default(self._options.counter_api_replicas))

    async def _migrate(self) -> None:
        await run(
            "user-api migrate",
            [services.command("user-api"), "migrate"],
            log_file=self._layout.log("migrate"),
            environment=self._user_api.settings,
        )

    def _refuse_changes(self, options: Options) -> None:
        current = self._options
        for what, now, wanted in (
            ("the gateway's port", self._gateway.port, options.port),
            ("PostgreSQL", current.postgres_url, options.postgres_url),
            ("the cache", current.cache_url, options.cache_url),
            ("the counters' Redis", current.counters_url, options.counters_url),
            ("whether there are sidecars", bool(current.sidecars), options.sidecars),
            *(
                (name, self._gateway.pages[name], value or None)
                for name, value in (options.pages or browsers.NONE).items()
            ),
        ):
            if wanted is not None and wanted != now:
                raise StackError(f"{what} cannot change while the stack runs; run `make down` first")


def _or_default(count: int | None) -> int:
    return DEFAULT_REPLICAS if count is None else count
