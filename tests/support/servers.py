"""Real PostgreSQL and Redis for a test session: in containers if Docker can start them, else the embedded servers."""

import asyncio
import contextlib
import gc
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import docker
from docker.errors import DockerException
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.redis import RedisContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from evenkeel.tasks.failures import first_line
from stack import valkey
from stack.credentials import Credentials
from stack.layout import free_port
from stack.postgres import ADMIN, Postgres
from stack.process import Program
from stack.valkey import Valkey

POSTGRES_IMAGE = "postgres:18"
REDIS_IMAGE = "redis:8"

WITHOUT_DISK = ("fsync", "full_page_writes")
"""Settings of PostgreSQL that tests switch off. A busy disk would delay tests of other things by seconds."""

IN_MEMORY = Path("/dev/shm")  # noqa: S108 (a directory is made below it)
"""On Linux, the folder of the embedded counters' file. Each reply to an increment waits until it is written."""

START_TIMEOUT = 60
"""Seconds within which a server must answer."""

LOOK_EVERY = 0.1
"""Seconds after which a container's server is tried again. By default it is one second, and three servers start."""


@dataclass(frozen=True)
class Servers:
    postgres: str
    """The connection URL of a superuser."""
    redis_cache: str
    redis_counters: str


def docker_answers() -> bool:
    with warnings.catch_warnings():
        # The client does not close a socket whose connection failed. The next test of any kind would fail.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with contextlib.closing(docker.from_env(timeout=5)) as client:
                return bool(client.ping())
        except DockerException:
            return False
        finally:
            gc.collect()


def container_trouble() -> str | None:
    """Why a container that Docker starts is of no use here; None if it works.

    Docker's socket may answer although containers cannot be used: the container with which testcontainers cleans up
    needs rights that rootless engines do not give, a registry cannot be reached, or ports are published elsewhere.
    """
    try:
        with RedisContainer(REDIS_IMAGE):  # this waits until it can be reached
            return None
    except Exception as error:  # noqa: BLE001 (whatever it is, the embedded servers work)
        return first_line(error)


@contextlib.contextmanager
def backend(name: str) -> Iterator[Servers]:
    """The servers of --backend, which do not wait for a disk, and let clients in quickly."""
    memory = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
    with containers() if name == "containers" else embedded(counters_below=memory) as servers:
        asyncio.run(_made_quick(servers.postgres))
        yield servers


async def _made_quick(url: str) -> None:
    role = urlsplit(url)
    connection = await asyncpg.connect(url)
    try:
        # Each connection would calculate 4096 hashes (RFC 7677), and tests open thousands of connections.
        await connection.execute("SET scram_iterations = 1")
        await connection.execute(f"ALTER ROLE {role.username} PASSWORD '{role.password}'")
        for setting in WITHOUT_DISK:
            await connection.execute(f"ALTER SYSTEM SET {setting} = off")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


@contextlib.contextmanager
def containers() -> Iterator[Servers]:
    """By testcontainers, with the settings of docker-compose.yml. All start and stop at the same time."""
    testcontainers_config.sleep_time, testcontainers_config.max_tries = LOOK_EVERY, round(START_TIMEOUT / LOOK_EVERY)
    postgres = PostgresContainer(
        POSTGRES_IMAGE, username="postgres", password="test", dbname="postgres", driver=None
    ).with_env("POSTGRES_INITDB_ARGS", "--no-sync")
    cache = RedisContainer(REDIS_IMAGE).with_command(_redis_command(valkey.CACHE))
    counters = RedisContainer(REDIS_IMAGE).with_command(_redis_command(valkey.COUNTERS)).with_tmpfs_mount("/data")
    everything: tuple[DockerContainer, ...] = (postgres, cache, counters)
    with ThreadPoolExecutor(len(everything)) as threads:
        try:
            # The first one starts alone, because with it testcontainers starts the container that cleans up.
            cache.start()
            list(threads.map(lambda container: container.start(), (postgres, counters)))
            yield Servers(postgres.get_connection_url(), _redis_url(cache), _redis_url(counters))
        finally:
            list(threads.map(lambda container: container.stop(), everything))


def _redis_command(settings: dict[str, str]) -> str:
    return "redis-server --save '' " + " ".join(f"--{name} {value}" for name, value in settings.items())


def _redis_url(container: RedisContainer) -> str:
    return f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"


@contextlib.contextmanager
def embedded(counters_below: Path | None = None, *, max_connections: int | None = None) -> Iterator[Servers]:
    """The servers of the local stack, in new directories. PostgreSQL may accept another number of connections."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evenkeel-test-")))
        counters_directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="evenkeel-test-", dir=counters_below))
        )
        credentials = Credentials()
        port = free_port()
        postgres = Postgres(directory / "postgres", port, credentials, directory / "initdb.log")
        cache = Valkey("cache", directory / "cache", free_port(), credentials.redis_cache, valkey.CACHE)
        counters = Valkey("counters", counters_directory, free_port(), credentials.redis_counters, valkey.COUNTERS)
        for server in (postgres, cache, counters):
            asyncio.run(server.create())
            program = server.program()
            if server is postgres and max_connections is not None:
                program = replace(program, argv=[*program.argv, "-c", f"max_connections={max_connections}"])
            stack.enter_context(running(program, directory / f"{server.name}.log"))
        yield Servers(
            f"postgresql://{ADMIN}:{credentials.postgres_admin}@127.0.0.1:{port}/postgres", cache.url, counters.url
        )


@contextlib.contextmanager
def running(program: Program, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The program as a child process, ready. At the end it is stopped in its normal way."""
    with log.open("wb") as output:
        child = subprocess.Popen(program.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not asyncio.run(_is_ready(program)):
                if child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{program.name} did not start:\n{log.read_text()}")
                time.sleep(0.05)
            yield child
        finally:
            child.send_signal(program.stop_signal)
            child.wait(program.stop_timeout)


async def _is_ready(program: Program) -> bool:
    return await program.ready()
