"""A whole stack with access control: its commands, and those that need a token themselves."""

import json
import os
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from tests.integration.conftest import VERIFY, Stack
from tests.support.problems import problem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("closed"))
    with stack.running("--access", "tokens", user_api=1, counter_api=1) as welcome:
        assert "Access control is on" in welcome
        yield stack


def _headers(stack: Stack, *scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.run('token', *scopes).strip()}"}


def test_the_welcomes_lines_work(closed: Stack) -> None:
    """As printed, except for `make token`, which stands for the command below."""
    token = closed.run("token", "users:read", "users:write", "counters:read", "counters:write").strip()
    lines = [line.strip() for line in closed.run("up").splitlines() if line.startswith("  curl ")]
    assert len(lines) == 5
    for line in lines:
        command = line.replace("curl", "curl --silent --show-error --fail-with-body", 1)
        subprocess.run(
            ["bash", "-c", command],  # noqa: S607 (as a person types it)
            env=os.environ | {"TOKEN": token},
            check=True,
            capture_output=True,
            timeout=60,
        )


def test_a_token_opens_what_its_scopes_say(closed: Stack) -> None:
    assert problem(httpx.get(f"{closed.gateway}/counter")) == (401, "unauthorized")
    assert httpx.get(f"{closed.gateway}/counter", headers=_headers(closed, "counters:write")).status_code == 200
    response = httpx.get(f"{closed.gateway}/counter", headers=_headers(closed, "counters:read", "users:read"))
    assert problem(response) == (403, "forbidden")
    assert httpx.get(f"{closed.gateway}/docs").status_code == 200
    fleet = f"{closed.gateway}/v1/fleet/counter-api"
    assert problem(httpx.get(fleet, headers=_headers(closed, "counters:read"))) == (403, "forbidden")
    assert httpx.get(fleet, headers=_headers(closed, "fleet:read")).json()["replicas"][0]["state"] == "ready"


def test_keys_are_rotated_while_it_runs(closed: Stack) -> None:
    before = _headers(closed, "counters:write")
    statuses = []
    for _ in range(2):
        closed.run("rotate-keys")
        after = _headers(closed, "counters:write")
        statuses.append(
            [httpx.get(f"{closed.gateway}/counter", headers=given).status_code for given in (before, after)]
        )
    assert statuses == [[200, 200], [401, 200]]


def test_the_verifiers_bring_their_own_tokens(closed: Stack) -> None:
    counters = closed.verify("counters", "--faults", "none,disconnects", "--operations", "200", "--json")
    users = closed.verify("cache", "--faults", "none", "--seconds", "1", "--users", "20", "--json")
    for found in map(json.loads, (counters, users)):
        assert found["ok"]
        assert all(not phase["problems"] for phase in found["phases"])


def test_a_verifier_from_elsewhere_takes_the_token_that_it_is_given(closed: Stack) -> None:
    arguments = ("counters", "--target", closed.gateway, "--faults", "none", "--operations", "100")
    command = [VERIFY, "--directory", str(closed.directory), *arguments]
    token = closed.run("token", "counters:read", "counters:write").strip()
    for given, status in (({}, 1), ({"ACCESS_TOKEN": token}, 0)):
        ended = subprocess.run(
            command, env=os.environ | given, capture_output=True, text=True, check=False, timeout=120
        )
        assert ended.returncode == status, ended.stderr


def test_reload_and_status(closed: Stack) -> None:
    pid = closed.processes("gateway")[0]["pid"]
    closed.run("reload", "gateway")
    [gateway] = closed.processes("gateway")
    assert (gateway["pid"], gateway["access"], gateway["state"]) == (pid, "tokens", "healthy")
    assert closed.status().keys() == {"gateway", "processes"}


def test_access_control_is_switched_off_while_it_runs(closed: Stack) -> None:
    assert "Access control is off" in closed.run("up", "--access", "open")
    assert httpx.get(f"{closed.gateway}/stats").status_code == 200
    closed.run("up", "--access", "tokens")
    assert httpx.get(f"{closed.gateway}/stats").status_code == 401
    closed.run("up")  # as it is now
    assert httpx.get(f"{closed.gateway}/stats").status_code == 401
