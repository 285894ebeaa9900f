"""`verify counters` on a stack of its own, whose counters' Redis it may break."""

import json
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from tests.integration.conftest import VERIFY, Stack

FAULTS = ["kill-replica", "freeze-replica", "restart-replicas", "kill-gateway", "kill-redis", "freeze-redis"]


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With embedded servers, whatever the session uses."""
    stack = Stack(tmp_path_factory.mktemp("breakable"))
    with stack.running(user_api=0, counter_api=2):
        yield stack


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_whatever_breaks(breakable: Stack) -> None:
    found = json.loads(breakable.verify("counters", "--operations", "1000", "--clients", "16", "--json"))
    assert [phase["phase"] for phase in found["phases"]] == ["none", "disconnects", *FAULTS]
    for phase in found["phases"]:
        assert (phase["problems"], phase["examples"]) == ([], [])
        assert phase["increments"] + phase["reads"] >= 1000
        assert (phase["injected"] > 0) is (phase["phase"] in FAULTS)
    assert found["ok"]
    assert httpx.get(f"{breakable.gateway}/v1/counters?prefix=verify").json() == {"data": []}


@pytest.mark.slow
def test_a_fault_that_cannot_be_injected_is_a_failure(stack: Stack) -> None:
    """The session's servers are not processes of that stack."""
    arguments = ("counters", "--faults", "kill-redis", "--operations", "100", "--json")
    ended = subprocess.run(
        [VERIFY, "--directory", stack.directory, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    [phase] = json.loads(ended.stdout)["phases"]
    assert (ended.returncode, phase["injected"], phase["breaches"]) == (1, 0, {})
    assert phase["problems"] == ["the fault could not be injected: redis-counters is no process of this stack"]
