"""The load of `verify disruptions`, on services that do what a test says."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_http import Answer, Request, answering

from verify.disruptions import load

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
FAST = 1000
"""Requests a second."""


class Services:
    """Both services, which do everything right."""

    def __init__(self) -> None:
        self.users: dict[int, int] = {}
        self.counters: Counter[str] = Counter()
        self.answers: dict[str, int] = {}
        self.requests: Counter[str] = Counter()

    def respond(self, request: Request) -> Answer | None:
        _, _, collection, *rest = request.path.split("/")
        self.requests[request.method] += 1
        if request.method == "DELETE":
            made: dict[Any, int] = self.users if collection == "users" else self.counters
            del made[int(rest[0]) if collection == "users" else rest[0]]
            return Answer(204)
        if collection == "counters":
            return self.count(rest[0], request.headers.get("idempotency-key"))
        if request.method == "POST":
            assert "idempotency-key" in request.headers
            self.users[number := len(self.users) + 1] = 1
            return Answer(201, {"id": number, "version": 1})
        number = int(rest[0])
        if request.method == "PATCH":
            self.users[number] += 1
            return Answer(200, {"id": number, "version": self.users[number]})
        return Answer(200, {"source": "memory", "data": {"id": number}})

    def count(self, name: str, key: str | None) -> Answer:
        if key is None or key not in self.answers:
            self.counters[name] += 1
            self.answers[key or ""] = self.counters[name]
        return Answer(200, {"name": name, "value": self.answers[key or ""]})

    def busy(self) -> bool:
        """Whether each client has sent several requests."""
        return (
            (len(self.users), len(self.counters)) == (load.CLIENTS, 2 * load.CLIENTS)
            and min(self.users.values()) > 10
            and min(self.counters.values()) > 10
            and self.requests["GET"] > 100
        )


async def watch(services: Services, monkeypatch: pytest.MonkeyPatch, rate: int = FAST) -> dict[str, Any]:
    """What the load writes once it has sent enough."""
    monkeypatch.setattr(load, "INTERVAL", 0.1)
    stop = asyncio.Event()
    written: list[dict[str, Any]] = []

    def report(line: str) -> None:
        if services.busy():
            stop.set()
        written.append(json.loads(line))

    async with answering(services.respond) as url:
        await load.run(url, stop, report, rate=rate)
    return written[-1]


async def test_it_counts_what_is_right_and_deletes_what_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    services = Services()
    last = await watch(services, monkeypatch)
    assert (last["failed"], last["lost"], last["doubled"], last["examples"]) == ({}, 0, 0, [])
    assert last["requests"] > 400
    assert (services.users, services.counters) == ({}, {})


async def test_it_never_sends_more_than_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    last = await watch(Services(), monkeypatch, rate=500)
    # Each client sends its first request within its first pause.
    assert last["requests"] <= 500 * (last["second"] + 0.1) + len(load.KINDS) * load.CLIENTS


class Forgetful(Services):
    """Every counter falls back by one, once, at its third increment."""

    def count(self, name: str, key: str | None) -> Answer:
        if self.counters[name] == 2 and name not in self.answers:
            self.answers[name] = 0
            self.counters[name] -= 1
        return super().count(name, key)


class Twice(Services):
    """Every user is patched twice, once."""

    def respond(self, request: Request) -> Answer | None:
        if request.method == "PATCH" and self.users[number := int(request.path.split("/")[3])] == 2:
            self.users[number] += 1
        return super().respond(request)


async def test_lost_writes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    last = await watch(Forgetful(), monkeypatch)
    assert (last["lost"], last["doubled"]) == (2 * load.CLIENTS, 0)
    assert re.fullmatch(r"counter verify-\w+:\d+: 1 lost, 0 doubled", last["examples"][0])


async def test_doubled_writes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    last = await watch(Twice(), monkeypatch)
    assert (last["lost"], last["doubled"]) == (0, load.CLIENTS)


class Broken(Services):
    """Every seventh write of a kind is done, but answered with 503."""

    def respond(self, request: Request) -> Answer | None:
        answer = super().respond(request)
        kind = f"{request.method} {'idempotency-key' in request.headers}"
        self.requests[kind] += 1
        broken = request.method == "PATCH" or request.path.endswith("/increment")
        return Answer(503, {"status": 503}) if broken and self.requests[kind] % 7 == 0 else answer


async def test_failures_are_told_apart_and_only_a_key_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    last = await watch(Broken(), monkeypatch)
    assert last["failed"].keys() == {"patch: 503", "plain increment: 503", "keyed increment: 503"}
    assert last["repeated"] > 0
    assert (last["lost"], last["doubled"]) == (0, 0), "a write without an answer may have been done"


async def test_the_image_has_all_that_it_needs_and_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    """As the pod does it: by SIGTERM. `-S` leaves out all packages that are installed here."""
    dockerfile = (ROOT / "verify/Dockerfile").read_text().replace("\\\n", "")
    for line in re.findall(r"^COPY --chmod=644 (.*)$", dockerfile, re.MULTILINE):
        *sources, target = line.split()
        folder = tmp_path / target.removeprefix("/")
        folder.mkdir(parents=True)
        for source in sources:
            shutil.copy(ROOT / source, folder)
    services = Services()
    async with answering(services.respond) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-m", "verify.disruptions.load", url),
            env={"PYTHONPATH": str(tmp_path / "opt/verify"), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline())["requests"] > 0
        assert len(services.users) == load.CLIENTS
        process.terminate()
        assert await process.wait() == 0
    assert (services.users, services.counters) == ({}, {})


async def test_a_gateway_that_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(load, "READY_WITHIN", 0)
    async with answering(lambda _: Answer(401, {"status": 401})) as url:
        assert await load._main(url) == 1
    assert capsys.readouterr().out == f"{url} creates no user: 401\n"
