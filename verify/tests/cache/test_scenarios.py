"""The parts of scenarios: users set aside, additional replicas, and their own judgements."""

import asyncio
import signal
import sys
from pathlib import Path

import psutil
import pytest

from stack.errors import StackError
from stack.probe import redis_info
from stack.process import Program
from verify.cache import failover
from verify.cache.extra_programs import extra_programs
from verify.cache.faults import USERS
from verify.cache.open_loop import Rates
from verify.cache.rows import Row, Rows
from verify.cache.scenarios import SCENARIOS
from verify.cache.scene import Scene
from verify.cache.tally import CacheTally
from verify.cache.verification import PHASES
from verify.deployment import Local

pytestmark = pytest.mark.anyio

ENOUGH = 300
"""So many random picks that each of a few things is picked."""


def _rows(count: int) -> Rows:
    rows = Rows("run")
    for serial in range(1, count + 1):
        rows.add(Row(serial, rows.next_serial()))
    return rows


async def _ready() -> bool:
    return True


def _sleeper() -> Program:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); signal.pause()"
    return Program("sleeper", "sleeper", [sys.executable, "-c", code], _ready, stop_signal=signal.SIGINT)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_nothing_is_done_to_what_is_not_the_stacks_own(tmp_path: Path, name: str) -> None:
    local = Local(tmp_path / "control.sock", USERS)
    assert name not in PHASES.possible(local)
    with pytest.raises(StackError, match="is no process of this stack"):
        await SCENARIOS[name].play(Scene(local, _rows(1), Rates(1, 1), CacheTally("x", strict=False)))


def test_users_aside_are_read_but_not_written_by_others() -> None:
    rows = _rows(10)
    with rows.aside(4) as aside:
        assert not {rows.any() for _ in range(ENOUGH)} & set(aside)
        assert {rows.any_to_read() for _ in range(ENOUGH)} >= set(aside)
        assert len(rows) == 6
    assert {rows.any() for _ in range(ENOUGH)} >= set(aside)
    assert len(rows) == 10


def test_all_users_may_be_aside() -> None:
    with _rows(3).aside(20) as aside:
        assert len(aside) == 3


def test_slow_reads_are_counted_only_where_nothing_is_down() -> None:
    tally = CacheTally("rotate-keys", strict=False)
    tally.read_took(9.0, "before", reference=False)
    with tally.patient(2.0):
        tally.read_took(0.1, "the database", reference=True)
        tally.read_took(2.0, "within", reference=False)
        tally.read_took(4.15, "GET /v1/users/1 from user-api-1", reference=False)
    tally.read_took(9.0, "after", reference=False)
    assert tally.breaches == {"slow": 1}
    assert tally.examples == ["slow: GET /v1/users/1 from user-api-1 took 4.150 s"]


def test_a_machine_that_is_slow_for_the_database_too_makes_no_read_slow() -> None:
    tally = CacheTally("rotate-keys", strict=False)
    with tally.patient(2.0):
        tally.read_took(4.1, "GET /v1/users/1 from user-api-1", reference=False)
        tally.read_took(1.1, "the database", reference=True)
    assert not tally.breaches


@pytest.mark.slow
async def test_a_frozen_primary_is_replaced_by_its_replica() -> None:
    async with extra_programs() as extra:
        cache = await failover.start(extra)
        await cache.fail()
        assert await _role(cache.port, cache.password) == "slave"


async def _role(port: int, password: str) -> str:
    """The server's role, once a Sentinel has made it a replica."""
    async with asyncio.timeout(60):
        while (role := (await redis_info(port, password, "replication")).get("role")) != "slave":  # noqa: ASYNC110 (as below)
            await asyncio.sleep(0.1)
    return str(role)


@pytest.mark.slow
async def test_programs_of_our_own_end_with_the_scenario() -> None:
    async with extra_programs() as extra:
        process = await extra.start(_sleeper())
        assert process.pid is not None
        assert psutil.pid_exists(process.pid)
        pid = process.pid
    assert not psutil.pid_exists(pid)
    assert not extra.directory.exists()


async def test_they_end_even_when_the_verification_is_killed() -> None:
    code = (
        "import asyncio, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_scenarios import _sleeper\n"
        "from verify.cache.extra_programs import extra_programs\n"
        "async def main():\n"
        "    async with extra_programs() as extra:\n"
        "        process = await extra.start(_sleeper())\n"
        "        print(process.pid, flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    verification = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert verification.stdout is not None
    pid = int(await verification.stdout.readline())
    verification.kill()
    await verification.wait()
    async with asyncio.timeout(60):
        while psutil.pid_exists(pid):  # noqa: ASYNC110 (another process's doing)
            await asyncio.sleep(0.05)
