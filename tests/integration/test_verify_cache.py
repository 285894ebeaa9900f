"""`stack verify-cache` on a stack of its own, every process of which it can break."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.conftest import STACK, Stack
from tests.users import count

from stack.layout import free_port
from stack.verify.faults import FAULTS


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Embedded servers wherever the other tests have theirs: a verification breaks what has a process id."""
    stack = Stack(tmp_path_factory.mktemp("breakable"))
    try:
        replicas = ("--user-api-replicas", "3", "--counter-api-replicas", "0")
        stack.run("up", "--sidecars", "--port", str(free_port()), *replicas)
        yield stack
    finally:
        stack.run("down")


def _verify(stack: Stack, *arguments: str) -> tuple[int, dict[str, Any]]:
    ended = subprocess.run(
        [STACK, "--directory", str(stack.directory), "verify-cache", "--json", *arguments],
        stdout=subprocess.PIPE,
        check=False,
        timeout=300,
    )
    document: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, document


def test_no_promise_is_broken_whatever_breaks(breakable: Stack) -> None:
    status, document = _verify(breakable, "--seconds", "3")
    phases = {phase["phase"]: phase for phase in document["phases"]}
    assert {name: phase["problems"] for name, phase in phases.items()} == {name: [] for name in FAULTS}
    assert (status, document["ok"]) == (0, True)
    calm = phases["none"]
    assert calm["own_reads"] > 0
    # The caches were at work: what always comes from PostgreSQL is never stale.
    assert 2 * (calm["sources"]["memory"] + calm["sources"]["redis"]) > calm["sources"]["database"]


def test_the_stack_is_whole_afterwards_and_no_user_is_left(breakable: Stack) -> None:
    processes = breakable.status()["processes"]
    assert {process["state"] for process in processes} == {"healthy"}
    [postgres] = [process for process in processes if process["service"] == "postgres"]
    assert asyncio.run(count(postgres["dsn"])) == 0
