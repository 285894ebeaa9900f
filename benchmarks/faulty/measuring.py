"""Runs `verify cache` on one cache, whose parts are broken meanwhile."""

import asyncio
import contextlib
import json
import shlex
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.faulty.caches import Cache
from benchmarks.faulty.rig import Rig
from benchmarks.serving import BIN, START_TIMEOUT

USERS = 6
RATE = 20
"""Requests in a second: 18 reads, and 2 writes that are read back."""

TRIGGER = Path(__file__).with_name("trigger.py")

HEAL = "/heal"


@contextlib.asynccontextmanager
async def triggered(rig: Rig) -> AsyncIterator[int]:
    """The port at which the commands of faults reach the rig."""
    actions = {}
    for name, (inject, heal) in rig.faults().items():
        actions[name] = inject
        if heal:
            actions[name + HEAL] = heal

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().strip()
        try:
            await actions[name]()
            writer.write(b"done\n")
        except Exception as error:  # noqa: BLE001 (the command says it, and the phase fails)
            writer.write(f"{type(error).__name__}: {error}\n".encode())
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def ready(cache: Cache, database_url: str, directory: Path) -> AsyncIterator[Rig]:
    """Replicas that have answered."""
    async with Rig(lambda redis: cache.make(database_url, redis), directory).running() as rig:
        for url in rig.urls:
            await asyncio.to_thread(_answers, cache.read.format(url=url).split()[1].format(id=1))
        yield rig


async def measured(cache: Cache, database_url: str, rig: Rig, *, seconds: int, quiet: int) -> list[Any]:
    """The phases, as `verify cache --json` has them."""
    async with triggered(rig) as port:
        first, *others = rig.urls
        command = [
            *(str(BIN / "verify"), "cache", "--json", "--ids", ",".join(map(str, range(1, USERS + 1)))),
            *("--read", cache.read.format(url=first), "--write", cache.write.format(url=first)),
            *("--value", cache.value, "--rate", str(RATE), "--seconds", str(seconds), "--quiet", str(quiet)),
            *(word for url in others for word in ("--replica", url)),
            *("--sql", database_url, f"UPDATE {cache.table} SET name = {{value}} WHERE id = {{id}}"),  # noqa: S608
            *("--sql-read", f"SELECT name FROM {cache.table} WHERE id = {{id}}"),  # noqa: S608 (names of our own)
            *_faults(rig, port),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            output, _ = await asyncio.gather(_all(process), _progress(cache.name, process))
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if not output:
        raise RuntimeError(f"{cache.name}: verify ended with status {process.returncode}")
    phases: list[Any] = json.loads(output)["phases"]
    for phase in phases:
        for problem in phase["problems"]:
            print(f"{cache.name}: {phase['phase']}: {problem}", file=sys.stderr, flush=True)
    return phases


def _faults(rig: Rig, port: int) -> list[str]:
    trigger = shlex.join([sys.executable, str(TRIGGER), str(port)])
    words = []
    for name, (_, heal) in rig.faults().items():
        words += ["--fault", f"{name}={trigger} {name}"]
        if heal:
            words += ["--heal", f"{name}={trigger} {name}{HEAL}"]
    return words


def _answers(url: str) -> None:
    """Return when a first read has succeeded, which opens the connections of the replica."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            urlopen(url, timeout=START_TIMEOUT).close()  # noqa: S310 (an address of our own)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


async def _all(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    return await process.stdout.read()


async def _progress(name: str, process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None  # noqa: S101 (it is a pipe)
    while line := await process.stderr.readline():
        print(f"{name}: {line.decode().strip()}", file=sys.stderr, flush=True)
