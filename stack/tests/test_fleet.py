"""Replicas whose list for the gateway cannot be written."""

import errno
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.supervised import kill_until_back

from stack.fleet import Fleet
from stack.gateway import Gateway
from stack.process import Process, Program
from stack.services import Service
from stack.state import State

pytestmark = pytest.mark.anyio


class SomeGateway:
    """Takes the list while there is space on its disk."""

    def __init__(self) -> None:
        self.full = False
        self.ports: set[int] | None = None

    def publish(self, _: str, ports: Iterable[int]) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.ports = set(ports)

    async def healthy_ports(self, _: str) -> set[int] | None:
        return self.ports


class SomeService:
    name = "user-api"

    @staticmethod
    def replica(number: int, port: int, **_: Any) -> Program:
        async def ready() -> bool:
            return True

        code = "import time; time.sleep(60)"
        return Program(
            name=f"user-api-{number}", service="user-api", argv=[sys.executable, "-c", code], ready=ready, url=f"{port}"
        )


async def test_a_replica_is_started_again_on_a_full_disk_and_the_gateway_hears_of_the_next_change(
    tmp_path: Path,
) -> None:
    def make_process(program: Program, on_change: Callable[[], None] | None = None) -> Process:
        state = State(tmp_path / "state.json")
        return Process(program, log_file=tmp_path / f"{program.name}.log", state=state, on_change=on_change)

    gateway = SomeGateway()
    fleet = Fleet(cast("Service", SomeService()), cast("Gateway", gateway), make_process)
    await fleet.scale(1)
    published = gateway.ports
    [process] = fleet.processes
    gateway.full = True
    await kill_until_back(process)
    with pytest.raises(OSError, match="No space left"):
        await fleet.scale(2)
    gateway.full = False
    await fleet.scale(2)
    assert published is not None
    assert gateway.ports is not None
    assert (len(gateway.ports), published <= gateway.ports) == (2, True)
    await fleet.stop()
