"""The deployment that is verified: the local stack, whose processes can be broken, or any other by its addresses."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from stack import console, control, status, tokens
from stack.errors import StackError
from stack.layout import Layout
from verify.connection import Credentials, bearer
from verify.target import FixedTargets, Target

WATCH_INTERVAL = 0.5
"""Seconds between questions where the replicas are."""

HEALTHY_WITHIN = 60.0
"""Seconds in which everything must be back after a fault."""

TOKEN_INTERVAL = 60.0
"""Seconds after which a new access token is made, because keys may be rotated."""

Process = dict[str, Any]


class Elsewhere(FixedTargets):
    """Any deployment. Only data that the verification has made is changed in it."""

    dsn: str | None = None

    def __init__(self, urls: Sequence[str], token: str | None = None) -> None:
        super().__init__([Target.at(url, url, bearer(token)) for url in urls])

    def named(self, _: str) -> Target | None:
        """An address may stand for many replicas."""
        return None

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        yield
        for target in self.targets:
            target.pool.close()


class Local:
    """The running stack, as its supervisor reports it: the gateway, and the replicas of one service."""

    def __init__(self, control_socket: Path, service: str, mint: Callable[[], str] | None = None) -> None:
        """`mint` makes an access token. It is called only if the gateway requires one."""
        self._control_socket = control_socket
        self._service = service
        self._mint = mint
        self._token: str | None = None
        self._minted = 0.0
        self._processes: list[Process] = []
        self._gateway = Target.at("gateway", "http://127.0.0.1", self._credentials)
        self._replicas: dict[str, Target] = {}
        self._taken_in: dict[str, Target] = {}

    @property
    def dsn(self) -> str:
        for process in self._processes:
            if process["service"] == "postgres":
                return str(process["dsn"])
        raise StackError("postgres is no process of this stack")

    @property
    def targets(self) -> list[Target]:
        """The gateway first, then the replicas by their names."""
        return [self._gateway, *(self._replicas[name] for name in sorted(self._replicas))]

    @property
    def replicas(self) -> list[Target]:
        """The replicas of the stack."""
        return list(self._replicas.values())

    def any(self) -> Target:
        """The gateway in half of the calls, else a random replica."""
        replicas = [*self._replicas.values(), *self._taken_in.values()]
        if random.random() < 0.5 or not replicas:
            return self._gateway
        return random.choice(replicas)

    def named(self, name: str) -> Target | None:
        return self._replicas.get(name) or self._taken_in.get(name)

    def take_in(self, replica: Target) -> None:
        """Send requests to this replica as well, which is not one of the stack's."""
        self._taken_in[replica.name] = replica

    def leave_out(self, replica: Target) -> None:
        del self._taken_in[replica.name]

    def settings(self) -> dict[str, str]:
        """The settings of a replica of the stack, without those that differ between replicas."""
        prefix = f"{self._service.upper().replace('-', '_')}_"
        try:
            environment = psutil.Process(self.victim(self._service)).environ()
        except psutil.Error as error:
            raise StackError(f"the settings of {self._service} cannot be read: {error}") from error
        alone = {f"{prefix}{name}" for name in ("HOST", "PORT", "REPLICA_NAME", "CACHE_READ_URL")}
        return {name: value for name, value in environment.items() if name.startswith(prefix) and name not in alone}

    def pids(self, service: str) -> list[int]:
        """The running processes of the service that the stack has started."""
        return [process["pid"] for process in self._processes if process["service"] == service and process["pid"]]

    def victim(self, service: str) -> int:
        """A random one of them. Raises StackError if there is none."""
        if not (pids := self.pids(service)):
            raise StackError(f"{service} is no process of this stack")
        return random.choice(pids)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Keep the replicas' addresses up to date. Raises StackError unless everything is healthy at first."""
        await self.until_healthy()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            for target in (self._gateway, *self._replicas.values()):
                target.pool.close()

    async def until_healthy(self, *, without: int | None = None) -> None:
        """Return when everything is healthy, and the process `without` gone."""
        try:
            async with asyncio.timeout(HEALTHY_WITHIN):
                while True:
                    await self._look()
                    well = all(process["state"] == "healthy" for process in self._processes)
                    pids = {process["pid"] for process in self._processes if process["pid"]}  # given servers have no id
                    if well and without not in pids:
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            ill = ", ".join(process["name"] for process in self._processes if process["state"] != "healthy")
            raise StackError(f"not healthy within {HEALTHY_WITHIN:g} s: {ill}") from None

    async def restart(self) -> None:
        """Replace the replicas one by one."""
        await self._ask({"command": "restart", "service": self._service}, patience=None)
        await self._look()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(StackError):
                await self._look()
            await asyncio.sleep(WATCH_INTERVAL)

    async def _look(self) -> None:
        answer = await self._ask({"command": "status"}, patience=30)
        self._processes = answer["processes"]
        self._gateway = _at(self._gateway, "gateway", answer["gateway"], self._credentials)
        # A replica that is being replaced and its successor have the same name.
        healthy = {
            process["name"]: process["url"]
            for process in self._processes
            if process["service"] == self._service and process["state"] == "healthy"
        }
        listed = {process["name"] for process in self._processes}
        for name in set(self._replicas) - listed:
            self._replicas.pop(name).pool.close()
        for name, url in healthy.items():
            self._replicas[name] = _at(self._replicas.get(name), name, url, self._subject)

    def _credentials(self) -> dict[str, str]:
        """Headers for the gateway. The replicas require no token."""
        if self._mint is None or status.access(self._processes) != "tokens":
            return {}
        if time.monotonic() - self._minted > TOKEN_INTERVAL or self._token is None:
            self._token, self._minted = self._mint(), time.monotonic()
        return bearer(self._token)()

    def _subject(self) -> dict[str, str]:
        """The header in which replicas get the token's subject: an Idempotency-Key belongs to it."""
        return {"x-evenkeel-subject": tokens.DEFAULT_SUBJECT} if self._credentials() else {}

    async def _ask(self, request: control.Request, *, patience: float | None) -> control.Answer:
        return await asyncio.to_thread(control.ask, self._control_socket, request, timeout=patience)


Deployment = Elsewhere | Local


def chosen(urls: Sequence[str], layout: Layout, service: str) -> Deployment:
    """The deployment at those URLs, with the token in ACCESS_TOKEN if there is one; without URLs the running stack."""
    if urls:
        return Elsewhere(urls, os.environ.get("ACCESS_TOKEN"))

    def mint() -> str:
        from stack.signing_keys import SigningKeys  # noqa: PLC0415 (its cryptography is slow to import)

        return tokens.mint(SigningKeys.load_or_create(layout.signing_keys), tokens.SCOPES)

    return Local(console.control_socket(layout), service, mint)


def _at(target: Target | None, name: str, url: str, credentials: Credentials = dict) -> Target:
    """The same target if it has that URL, else a new one. Requests under way on the old one go on."""
    if target is not None and target.url == url:
        return target
    if target is not None:
        target.pool.close()
    return Target.at(name, url, credentials)
