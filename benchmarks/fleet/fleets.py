"""Fleets of replicas in a few processes, and orders for all of them."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any

import psutil
from benchmarks.fleet.loads import Order
from benchmarks.serving import ROOT, Program, running

TOGETHER = 64
"""Light replicas in one process, so that no event loop is busy."""

CLOSING = 20
"""Seconds in which a process closes its replicas."""

LONGEST_LINE = 2**20


class Fleet:
    def __init__(self, size: int, members: Sequence["Member"], replicas: Sequence[psutil.Process]) -> None:
        self.size = size
        self._members = members
        self.processes = [*(psutil.Process(member.process.pid) for member in members), *replicas]
        """All of the replicas and of their load."""

    async def carry_out(self, order: Order) -> tuple[float, list[str]]:
        """Share the order out. How late the latest event loop was on average, in seconds, and what failed."""
        parts = shares(order, [member.size for member in self._members])
        reports = await asyncio.gather(
            *(member.carry_out(part) for member, part in zip(self._members, parts, strict=True))
        )
        return max(report["late"] for report in reports), [why for report in reports for why in report["failed"]]


def shares(order: Order, sizes: Sequence[int]) -> list[Order]:
    """The same order for each process, with its share of the requests. The hot user is written by the first one."""
    if order.kind == "rest":
        return [order for _ in sizes]
    if order.kind == "hot":
        return [order, *(replace(order, count=0) for _ in sizes[1:])]
    parts, first, left = [], order.first, sum(sizes)
    for size in sizes:
        count = round((order.first + order.count - first) * size / left)
        parts.append(replace(order, count=count, first=first, rate=order.rate * count / order.count))
        first, left = first + count, left - size
    return parts


class Member:
    """A process of benchmarks/fleet/member.py."""

    def __init__(self, process: asyncio.subprocess.Process, size: int) -> None:
        self.process = process
        self.size = size

    async def carry_out(self, order: Order) -> dict[str, Any]:
        if order.count == 0 and order.kind not in {"rest", "hot"}:
            return {"late": 0.0, "failed": []}
        self.say(asdict(order))
        return await self.answer()

    def say(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None  # noqa: S101 (it is a pipe)
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    async def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None  # noqa: S101 (it is a pipe)
        line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError("a process with replicas has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> None:
        assert self.process.stdin is not None  # noqa: S101 (it is a pipe)
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), CLOSING)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def light_fleet(program: Program, size: int) -> AsyncIterator[Fleet]:
    """So many light replicas with the settings of this program."""
    environments = [named(program, f"light-{number}").environment for number in range(size)]
    groups = [environments[start : start + TOGETHER] for start in range(0, size, TOGETHER)]
    async with _members([{"light": [dict(one) for one in group], "real": []} for group in groups]) as members:
        yield Fleet(size, members, [])


@asynccontextmanager
async def real_fleet(program: Program, size: int) -> AsyncIterator[Fleet]:
    """So many processes of this program, and one with their load."""
    with running([named(program, f"real-{number}") for number in range(size)], None) as servers:
        async with _members([{"light": [], "real": [server.port for server in servers]}]) as members:
            yield Fleet(size, members, [psutil.Process(server.pid) for server in servers])


def named(program: Program, name: str) -> Program:
    return replace(program, environment={**program.environment, "USER_API_REPLICA_NAME": name})


@asynccontextmanager
async def _members(wanted: Sequence[Mapping[str, Any]]) -> AsyncIterator[list[Member]]:
    """A process for each, whose replicas are open."""
    members: list[Member] = []
    try:
        for one in wanted:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.fleet.member"),
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
            )
            member = Member(process, len(one["light"]) + len(one["real"]))
            members.append(member)
            member.say(one)
        await asyncio.gather(*(member.answer() for member in members))
        yield members
    finally:
        with contextlib.suppress(ProcessLookupError):
            await asyncio.gather(*(member.end() for member in members))
