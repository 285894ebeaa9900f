"""The data servers: embedded ones, or given ones, of which the stack only shows the status."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from stack import probe
from stack.credentials import Credentials
from stack.layout import Layout
from stack.options import Options
from stack.postgres import Postgres
from stack.process import MakeProcess, Process
from stack.state import State
from stack.valkey import CACHE, COUNTERS, Valkey


class Backend(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def process(self) -> Process | None:
        """The server's process, if the stack runs it."""

    async def start(self) -> None: ...
    async def heal(self) -> None: ...
    async def stop(self) -> None: ...
    async def status(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Given:
    """A server that somebody else runs."""

    name: str
    url: str
    process: None = None

    async def start(self) -> None:
        """The services wait for it."""

    async def heal(self) -> None:
        """Its owner heals it."""

    async def stop(self) -> None:
        """It goes on running."""

    async def status(self) -> dict[str, Any]:
        address = urlsplit(self.url)
        reachable = await probe.accepts_connections(address.hostname or "", address.port or 0)
        return {
            "name": self.name,
            "service": self.name,
            "pid": None,
            "url": self.url,
            "dsn": self.url,
            "state": "healthy" if reachable else "unready",
            "restarts": 0,
        }


class Embedded:
    """A server that the stack runs, with its data in the stack's directory."""

    def __init__(self, server: Postgres | Valkey, make_process: MakeProcess) -> None:
        self.url = server.url
        self._create = server.create
        self.process = make_process(server.program())
        self.heal = self.process.heal
        self.stop = self.process.stop
        self.status = self.process.status

    async def start(self) -> None:
        await self._create()
        await self.process.start()


@dataclass(frozen=True)
class Backends:
    postgres: Backend
    cache: Backend
    counters: Backend

    @classmethod
    def choose(
        cls, options: Options, layout: Layout, credentials: Credentials, state: State, make_process: MakeProcess
    ) -> "Backends":
        """The servers that the options give, and embedded ones for the others. Nothing is started."""

        def postgres(given: str | None) -> Backend:
            if given:
                return Given("postgres", given)
            server = Postgres(
                layout.data / "postgres", state.port("postgres"), credentials, log_file=layout.log("postgres")
            )
            return Embedded(server, make_process)

        def valkey(given: str | None, name: str, password: str, settings: Mapping[str, str]) -> Backend:
            if given:
                return Given(name, given)
            return Embedded(Valkey(name, layout.data / name, state.port(name), password, settings), make_process)

        return cls(
            postgres=postgres(options.postgres_url),
            cache=valkey(options.cache_url, "redis-cache", credentials.redis_cache, CACHE),
            counters=valkey(options.counters_url, "redis-counters", credentials.redis_counters, COUNTERS),
        )

    def __iter__(self) -> Iterator[Backend]:
        return iter((self.postgres, self.cache, self.counters))
