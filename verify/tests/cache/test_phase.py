"""A phase of a verification: what counts for it, and for the phase before it."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from verify.cache import verification
from verify.cache.faults import FAULTS, USERS
from verify.cache.open_loop import Rates
from verify.cache.rows import Rows
from verify.cache.tally import CacheTally
from verify.cache.verification import CachePlan
from verify.deployment import Deployment, Local

if TYPE_CHECKING:
    from verify.cache.load import Load
    from verify.faults import Fault

pytestmark = pytest.mark.anyio


@dataclass
class SlowLoad:
    """A load with one request that began in the phase before."""

    request: "asyncio.Task[None]"
    tally: CacheTally = field(default_factory=lambda: CacheTally("before", strict=True))
    sql_share: float = 0

    @property
    def under_way(self) -> "frozenset[asyncio.Task[None]]":
        return frozenset({self.request})


@dataclass
class Noted:
    """A fault that notes whether the request had its answer when the fault came."""

    request: "asyncio.Task[None]"
    answered: bool | None = None

    async def inject(self, _: Deployment) -> None:
        self.answered = self.request.done()


async def test_a_fault_waits_for_the_requests_of_the_phase_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "LEAD", 0)
    monkeypatch.setattr(verification, "TAIL", 0)
    request = asyncio.create_task(asyncio.sleep(0.5))
    fault = Noted(request)
    monkeypatch.setitem(FAULTS, "noted", cast("Fault", fault))
    plan = CachePlan(["noted"], seconds=0, users=1, rates=Rates(1, 1))
    await verification._phase(
        "noted", Local(tmp_path / "control.sock", USERS), plan, Rows("run"), cast("Load", SlowLoad(request))
    )
    assert fault.answered is True
