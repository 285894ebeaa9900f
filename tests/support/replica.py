"""A replica of user-api in a separate process, for tests that freeze or kill it."""

import os
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from tests.support.child import Child

from stack.http_probe import http_get
from stack.layout import free_port
from stack.process import Program
from user_api.settings import Settings

SERVE = "import sys; from user_api.cli import main; sys.argv = ['user-api', 'serve']; main()"

DIE_BEFORE_INVALIDATION = (
    """
import os, signal
from evenkeel.cache import ReadThrough
async def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
ReadThrough.invalidate = die
"""
    + SERVE
)
"""This program kills itself between the commit of a change and the answer. The service itself has no such switch."""


def counting(queries: Path) -> str:
    """A program that appends a byte to the file for each user that the cache loads."""
    return f"""
import os
from user_api.store import UserStore
log = os.open({str(queries)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
read = UserStore.read
async def noted_read(store, ids):
    os.write(log, b"." * len(ids))
    return await read(store, ids)
UserStore.read = noted_read
{SERVE}"""


class Replica(Child):
    def __init__(self, settings: Settings, directory: Path, program: str = SERVE) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"

        async def ready() -> bool:
            answer = await http_get("/readyz", port=port)
            return answer is not None and answer.status == 200

        super().__init__(
            Program(
                name=settings.replica_name,
                service="user-api",
                argv=[sys.executable, "-c", program],
                ready=ready,
                environment=os.environ | _environment(settings) | {"USER_API_PORT": str(port)},
            ),
            directory / f"{settings.replica_name}.log",
        )


def _environment(settings: Settings) -> dict[str, str]:
    given = settings.model_dump(exclude_unset=True)
    return {f"{settings.model_config['env_prefix']}{name.upper()}": _text(value) for name, value in given.items()}


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(value) if isinstance(value, tuple) else str(value)
