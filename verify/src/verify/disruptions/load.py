"""The load in the cluster: `python -m verify.disruptions.load http://gateway`.

Clients read users, patch users, and count with and without an `Idempotency-Key`. It runs until SIGTERM. Then it deletes
its users and counters. It needs the standard library alone, so its image has nothing else.
"""

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from verify.connection import NO_ANSWER, Connection, Reply
from verify.disruptions.seen import Seen
from verify.disruptions.written import Written

RATE = 100
"""Requests a second, at most."""

KINDS = ("read", "patch", "keyed increment", "plain increment")
CLIENTS = 10
"""Of each kind."""

TIMEOUT = 10.0
"""Seconds. Longer than the gateway and the services let a request wait."""

READY_WITHIN = 60.0
"""Seconds. On some networks a new pod's policies take effect after a while."""

INTERVAL = 1.0
"""Seconds between two lines of the log."""

JSON = {"content-type": "application/json"}
Report = Callable[[str], None]


class NoAnswer(Exception):
    """There was no success. The text says what there was."""


@dataclass
class User:
    id: int
    version: Written


class Sender:
    """Sends one request at a time on a connection of its own, and at most one in `pause` seconds."""

    def __init__(self, gateway: str, pause: float) -> None:
        self._connection = Connection(gateway)
        self._pause = pause
        self._sent = time.monotonic() - random.uniform(0, pause)

    async def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: object = None, *, wanted: int = 200
    ) -> Reply:
        """Raise NoAnswer unless the status is the wanted one."""
        await asyncio.sleep(self._sent + self._pause - time.monotonic())
        self._sent = time.monotonic()
        content = b"" if body is None else json.dumps(body).encode()
        try:
            async with asyncio.timeout(TIMEOUT):
                reply = await self._connection.request(method, path, headers, content)
        except NO_ANSWER as error:
            raise NoAnswer(type(error).__name__) from error
        if reply.status != wanted:
            raise NoAnswer(str(reply.status))
        return reply

    def close(self) -> None:
        self._connection.close()


class Clients:
    """What each kind of client does, and how its answers are judged."""

    def __init__(self, seen: Seen, stop: asyncio.Event) -> None:
        self._seen = seen
        self._stop = stop

    async def repeat(self, ask: Callable[[], Awaitable[None]]) -> None:
        while not self._stop.is_set():
            await ask()

    async def read(self, sender: Sender, user: User) -> None:
        await self._first_try("read", sender.request("GET", f"/v1/users/{user.id}"))

    async def patch(self, sender: Sender, user: User) -> None:
        name = {"name": f"Write {secrets.token_hex(4)}"}
        reply = await self._first_try("patch", sender.request("PATCH", f"/v1/users/{user.id}", JSON, name))
        self._judge(f"user {user.id}", user.version, reply.json()["version"] if reply else None)

    async def count(self, sender: Sender, name: str, value: Written) -> None:
        reply = await self._first_try("plain increment", sender.request("POST", f"/v1/counters/{name}/increment"))
        self._judge(f"counter {name}", value, reply.json()["value"] if reply else None)

    async def count_with_key(self, sender: Sender, name: str, value: Written) -> None:
        """Repeat until there is an answer. The key makes that safe."""
        path, key = f"/v1/counters/{name}/increment", {"idempotency-key": secrets.token_hex(16)}
        reply = await self._first_try("keyed increment", sender.request("POST", path, key))
        while reply is None and not self._stop.is_set():
            self._seen.repeated += 1
            with contextlib.suppress(NoAnswer):
                reply = await sender.request("POST", path, key)
                self._seen.succeeded("keyed increment")
        self._judge(f"counter {name}", value, reply.json()["value"] if reply else None)

    async def _first_try(self, kind: str, request: Awaitable[Reply]) -> Reply | None:
        try:
            reply = await request
        except NoAnswer as why:
            self._seen.requested(f"{kind}: {why}")
            return None
        self._seen.requested()
        self._seen.succeeded(kind)
        return reply

    def _judge(self, what: str, written: Written, value: int | None) -> None:
        if value is None:
            written.failed()
        else:
            self._seen.wrong(what, *written.answered(value))


async def run(gateway: str, stop: asyncio.Event, report: Report, *, rate: int = RATE) -> None:
    """Send requests until `stop` is set. Raises NoAnswer if the gateway does not answer at first."""
    prefix = f"verify-{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        aside = stack.enter_context(contextlib.closing(Sender(gateway, 1 / rate)))
        users: list[User] = []
        for number in range(CLIENTS):
            users.append(await _create(aside, f"{prefix}-{number}@example.com", stop))
            stack.push_async_callback(_delete, aside, f"/v1/users/{users[-1].id}")
        counters = [(f"{prefix}:{number}", Written(0)) for number in range(2 * CLIENTS)]
        for name, _ in counters:
            stack.push_async_callback(_delete, aside, f"/v1/counters/{name}")
        seen = Seen(KINDS, time.monotonic)
        clients = Clients(seen, stop)

        def sender() -> Sender:
            return stack.enter_context(contextlib.closing(Sender(gateway, len(KINDS) * CLIENTS / rate)))

        asks = [
            *(partial(clients.read, sender(), user) for user in users),
            *(partial(clients.patch, sender(), user) for user in users),
            *(partial(clients.count, sender(), *counter) for counter in counters[:CLIENTS]),
            *(partial(clients.count_with_key, sender(), *counter) for counter in counters[CLIENTS:]),
        ]
        async with asyncio.TaskGroup() as group:
            for ask in asks:
                group.create_task(clients.repeat(ask))
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), INTERVAL)
                report(seen.line())


async def _create(sender: Sender, email: str, stop: asyncio.Event) -> User:
    key = {"idempotency-key": secrets.token_hex(16)}
    user = {"email": email, "name": "verify disruptions"}
    until = time.monotonic() + READY_WITHIN
    while True:
        try:
            created = (await sender.request("POST", "/v1/users", JSON | key, user, wanted=201)).json()
        except NoAnswer:
            if stop.is_set() or time.monotonic() > until:
                raise
            await asyncio.sleep(INTERVAL)
        else:
            return User(created["id"], Written(created["version"]))


async def _delete(sender: Sender, path: str) -> None:
    for _ in range(3):
        with contextlib.suppress(NoAnswer):
            await sender.request("DELETE", path, wanted=204)
            return


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _main(gateway: str) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await run(gateway, stop, _write)
    except NoAnswer as why:
        _write(f"{gateway} creates no user: {why}")
        return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gateway", help="for example http://gateway")
    sys.exit(asyncio.run(_main(parser.parse_args().gateway)))
