"""The local stack of a release, in a directory of its own."""

import asyncio
import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.releases import Release
from benchmarks.users import insert_users

from stack.layout import free_port

SERVICES = ("user-api", "counter-api")
USERS = 200_000

Ports = Mapping[str, Sequence[int]]
"""By service."""


@contextlib.contextmanager
def deployed(
    release: Release, environment: Mapping[str, str], below: Path | None = None
) -> Iterator[tuple[Ports, Ports]]:
    """With users, and with its data below that folder: the ports of its replicas, and those of its gateway."""
    with tempfile.TemporaryDirectory(prefix="evenkeel-tails-", dir=below) as folder:
        stack = [str(release.programs / "stack"), "--directory", str(Path(folder) / "stack")]
        try:
            _run([*stack, "up", "--port", str(free_port())], environment)
            status = json.loads(_run([*stack, "status", "--json"], environment))
            [postgres] = [each["dsn"] for each in status["processes"] if each["service"] == "postgres"]
            asyncio.run(insert_users(postgres, "users", USERS))
            direct = {
                service: [_port(each["url"]) for each in status["processes"] if each["service"] == service]
                for service in SERVICES
            }
            yield direct, {service: [_port(status["gateway"])] for service in SERVICES}
        finally:
            _run([*stack, "down", "--delete-data"], environment)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What it prints. Its progress is not shown."""
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None  # noqa: S101 (the stack names it)
    return port
