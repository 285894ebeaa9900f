"""Faults that the local stack does not allow."""

from pathlib import Path

import pytest

from stack.errors import StackError
from verify.cache.faults import FAULTS, USERS
from verify.cache.verification import PHASES
from verify.deployment import Local

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["kill-redis", "freeze-postgres", "freeze-sidecar"])
async def test_what_is_not_the_stacks_own_is_not_broken(tmp_path: Path, name: str) -> None:
    local = Local(tmp_path / "control.sock", USERS)
    assert PHASES.possible(local) == ["none", "sql"]
    with pytest.raises(StackError, match="is no process of this stack"):
        await FAULTS[name].inject(local)
