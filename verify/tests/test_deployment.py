"""Where a verification sends its requests."""

from pathlib import Path

import pytest

from verify.deployment import Local
from verify.target import Target

pytestmark = pytest.mark.anyio

ENOUGH = 300
"""So many random picks that each of a few things is picked."""


async def test_replicas_taken_in_are_asked_until_they_are_left_out(tmp_path: Path) -> None:
    local, replica = Local(tmp_path / "control.sock", "user-api"), Target.at("user-api-101", "http://127.0.0.1:1")
    local.take_in(replica)
    assert replica in {local.any() for _ in range(ENOUGH)}
    assert local.named("user-api-101") is replica
    local.leave_out(replica)
    assert replica not in {local.any() for _ in range(ENOUGH)}
    assert local.named("user-api-101") is None
