"""Real faults of the local stack's processes, which are always undone."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import psutil

from stack.errors import StackError
from verify.deployment import Local
from verify.watchdog import watchdog

FROZEN = 3.0
"""Seconds that a process is stopped: longer than any trust lasts, and than the absence of a relay goes unnoticed."""


@dataclass(frozen=True)
class Fault:
    """It breaks a process of `service`, which must be the stack's."""

    service: str | None
    inject: Callable[[Local], Awaitable[None]]
    """Returns when the fault is over and everything is healthy again. Raises StackError if it could not be injected."""


def killed(service: str) -> Fault:
    """SIGKILL to a process of the service. The supervisor starts it again."""

    async def kill(local: Local) -> None:
        victim = local.victim(service)
        _send(signal.SIGKILL, victim)
        await local.until_healthy(without=victim)

    return Fault(service, kill)


def frozen(service: str) -> Fault:
    """SIGSTOP to a process of the service, and SIGCONT after FROZEN seconds."""

    async def freeze(local: Local) -> None:
        victim = local.victim(service)
        async with stopped(victim):
            await asyncio.sleep(FROZEN)
        await local.until_healthy()

    return Fault(service, freeze)


@contextlib.asynccontextmanager
async def stopped(pid: int) -> AsyncIterator[None]:
    """Stop the process and its children in this block. PostgreSQL has a child for each connection."""
    with contextlib.ExitStack() as undoing:
        undoing.callback(_resume, [pid])
        _send(signal.SIGSTOP, pid)  # from now on it makes no more children
        pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        undoing.callback(_resume, pids)
        undoing.enter_context(watchdog(f"sleep {2 * FROZEN:g}; kill -CONT {' '.join(map(str, pids))}"))
        for each in pids[1:]:
            with contextlib.suppress(ProcessLookupError):  # a connection may have ended meanwhile
                os.kill(each, signal.SIGSTOP)
        yield


def _resume(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _send(number: signal.Signals, pid: int) -> None:
    try:
        os.kill(pid, number)
    except OSError as error:
        raise StackError(f"{number.name} could not be sent to process {pid}: {error.strerror}") from error
