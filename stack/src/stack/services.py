"""The replicas of the two services: their commands and environments."""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError
from stack.http_probe import http_get
from stack.process import Program

SERVICES = ("user-api", "counter-api")


@dataclass(frozen=True)
class Service:
    """One service; `settings` are the environment variables that all its replicas share."""

    name: str
    settings: dict[str, str]

    def replica(self, number: int, port: int, *, cache_read_url: str | None = None) -> Program:
        """Replica `number` (from 1), listening on 127.0.0.1:port and reading its cache from there if given."""
        name = f"{self.name}-{number}"

        async def ready() -> bool:
            answer = await http_get("/readyz", port=port)
            return answer is not None and answer.status == 200

        own = {"HOST": "127.0.0.1", "PORT": str(port), "REPLICA_NAME": name}
        if cache_read_url:
            own["CACHE_READ_URL"] = cache_read_url
        return Program(
            name=name,
            service=self.name,
            argv=[command(self.name), "serve"],
            environment=self.settings | self._prefixed(own),
            ready=ready,
            url=f"http://127.0.0.1:{port}",
            # By then the gateway sends it nothing. After SIGTERM it would first wait until load balancers have noticed.
            stop_signal=signal.SIGINT,
        )

    def _prefixed(self, settings: dict[str, str]) -> dict[str, str]:
        prefix = self.name.upper().replace("-", "_")
        return {f"{prefix}_{name}": value for name, value in settings.items()}


def user_api(*, database_url: str, cache_url: str, cache_key: str) -> Service:
    return Service(
        "user-api",
        {
            "USER_API_DATABASE_URL": database_url,
            "USER_API_CACHE_URL": cache_url,
            "USER_API_CACHE_KEYS": cache_key,
        },
    )


def counter_api(*, redis_url: str, uniques_key: str) -> Service:
    return Service("counter-api", {"COUNTER_API_REDIS_URL": redis_url, "COUNTER_API_UNIQUES_KEY": uniques_key})


def command(name: str) -> str:
    """The path of the console script, in the environment that this package runs in."""
    path = Path(sys.executable).parent / name
    if not path.is_file():
        raise StackError(f"{name} is not installed beside {sys.executable}: `make up` installs everything")
    return str(path)
