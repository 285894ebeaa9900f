"""A stack of the demonstration's own, and the tutorials' programs beside it."""

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from demo import tutorials
from demo.leftovers import cleared_away, records, stack_directory
from stack import access, control
from stack.credentials import Credentials
from stack.errors import StackError
from stack.layout import Layout, free_port, repository_root
from stack.options import ENVIRONMENT
from stack.postgres import ADMIN
from stack.process import Process, Program
from stack.services import command
from stack.state import State
from stack.together import together
from verify.deployment import Local, chosen
from verify.target import Target

COUNTERS = tutorials.WORKERS
"""Replicas of counter-api: as many as the tutorial has workers."""

USERS = 2
"""Replicas of user-api."""

UNREAD = 20
"""Users that are made at first."""

NAME = "Before"

SETTLED = 0.4
"""Seconds in which the relay has applied what was committed: four of its turns."""


@dataclass(frozen=True)
class Stage:
    """Everything runs. The tutorials' programs have a Redis of their own, and use the same PostgreSQL."""

    users: Local
    """The stack, with the replicas of user-api."""
    counters: Local
    """The stack, with the replicas of counter-api."""
    layout: Layout
    admin: str
    """The URL of PostgreSQL's superuser."""
    workers: Process
    """The tutorial's counter in a global variable."""
    incr: Process
    """The tutorial's counter in Redis."""
    cache: Process
    """The tutorial's cache of users."""
    counter_redis: Process
    cache_redis: Process
    unread: list[int]
    """Ids of users that have been made, and not read."""

    @property
    def gateway(self) -> Target:
        return self.users.targets[0]

    async def pid(self, name: str) -> int:
        """Of a process of the stack. Raises StackError if it does not run."""
        request = {"command": "status"}
        answer = await asyncio.to_thread(control.ask, self.layout.control_socket, request)
        for process in answer["processes"]:
            if process["name"] == name and process["pid"] is not None:
                return int(process["pid"])
        raise StackError(f"{name} does not run")

    @contextlib.asynccontextmanager
    async def sql(self) -> AsyncIterator[Any]:
        """A superuser's connection to PostgreSQL."""
        connection = await asyncpg.connect(self.admin, ssl=False)
        try:
            yield connection
        finally:
            await connection.close()

    def new_user(self) -> int:
        """The id of a user that has not been read."""
        return self.unread.pop()


def pid_of(process: Process) -> int:
    """Raises StackError if it does not run. A signal to process 0 instead would reach this program, too."""
    if process.pid is None:
        raise StackError(f"{process.program.name} does not run")
    return process.pid


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Stage]:
    """Everything is stopped at the end, and its data deleted."""
    async with contextlib.AsyncExitStack() as closing:
        directory = closing.enter_context(cleared_away())
        layout = Layout(stack_directory(directory), repository_root())
        state = State(records(directory))

        def process(program: Program) -> Process:
            made = Process(program, log_file=directory / f"{program.name}.log", state=state)
            closing.push_async_callback(made.stop)
            return made

        servers = [tutorials.redis(name, directory) for name in ("tutorial-counter-redis", "tutorial-cache-redis")]
        for server in servers:
            await server.create()
        counter_redis, cache_redis = (process(server.program()) for server in servers)
        workers, incr = process(tutorials.workers()), process(tutorials.incr(servers[0].url))
        await together([_up(layout), *(each.start() for each in (counter_redis, cache_redis, workers, incr))])
        users, counters = _local(layout, "user-api"), _local(layout, "counter-api")
        await closing.enter_async_context(users.watched())
        await closing.enter_async_context(counters.watched())
        cache = process(tutorials.cache(users.dsn, servers[1].url))
        await cache.start()
        unread = [await _new_user(users.targets[0]) for _ in range(UNREAD)]
        await asyncio.sleep(SETTLED)
        closing.callback(sys.stderr.write, "demo: clearing away …\n")
        yield Stage(
            users=users,
            counters=counters,
            layout=layout,
            admin=_as_admin(users.dsn, Credentials.load_or_create(layout.secrets)),
            workers=workers,
            incr=incr,
            cache=cache,
            counter_redis=counter_redis,
            cache_redis=cache_redis,
            unread=unread,
        )


async def _new_user(gateway: Target) -> int:
    body = json.dumps({"email": f"{secrets.token_hex(8)}@example.com", "name": NAME}).encode()
    reply = await gateway.pool.request("POST", "/v1/users", {"content-type": "application/json"}, body)
    if reply.status != 201:
        raise StackError(f"a user could not be made: {reply.status} {reply.body.decode()}")
    user_id: int = reply.json()["id"]
    return user_id


async def _up(layout: Layout) -> None:
    """Start the stack by its own command, which shows its progress. The settings of another stack do not matter."""
    replicas = ("--user-api-replicas", str(USERS), "--counter-api-replicas", str(COUNTERS))
    options = ("--port", str(free_port()), *replicas, "--access", access.DEFAULT, "--no-sidecars")
    others = (*ENVIRONMENT.values(), "GATEWAY_", "USER_API_", "COUNTER_API_")
    starting = await asyncio.create_subprocess_exec(
        command("stack"),
        *("--directory", str(layout.directory), "up", *options),
        stdout=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith(others)},
    )
    if await starting.wait():
        raise StackError("the stack of the demonstration could not be started")


def _local(layout: Layout, service: str) -> Local:
    found = chosen([], layout, service)
    assert isinstance(found, Local)  # noqa: S101 (it is, because no address is given)
    return found


def _as_admin(url: str, credentials: Credentials) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{ADMIN}:{credentials.postgres_admin}@{parts.hostname}:{parts.port}").geturl()
