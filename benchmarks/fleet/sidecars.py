"""Replicas of the cache's Redis, as sidecars are. Nothing reads from them: what the primary sends them is measured."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import RedisError

from stack import valkey
from stack.layout import free_port

START_TIMEOUT = 30
"""Seconds within which a replica has its copy."""


@contextlib.contextmanager
def following(primary: str, number: int, directory: Path) -> Iterator[None]:
    """So many replicas follow the primary while the block runs."""
    url = urlsplit(primary)
    ports = [free_port() for _ in range(number)]
    processes = []
    try:
        for port in ports:
            configuration = directory / f"sidecar-{port}.conf"
            configuration.touch(mode=0o600)
            configuration.write_text(
                f"bind 127.0.0.1\nport {port}\ndir {directory}\nsave ''\ndbfilename sidecar-{port}.rdb\n"
                f"replicaof {url.hostname} {url.port}\nprimaryauth {url.password}\nrepl-diskless-load swapdb\n"
            )
            processes.append(subprocess.Popen([valkey.binary(), str(configuration)], stdout=subprocess.DEVNULL))
        for port in ports:
            _wait(port)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    with Redis(port=port) as redis:
        while True:
            with contextlib.suppress(RedisError):
                if redis.info("replication")["master_link_status"] == "up":
                    return
            if time.monotonic() > deadline:
                raise RuntimeError("a replica of Redis does not get its copy")
            time.sleep(0.05)
