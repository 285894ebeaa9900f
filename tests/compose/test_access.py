"""The same project with access control, which one setting switches on."""

from collections.abc import Iterator

import httpx
import pytest
from tests.support.compose_project import Project, run
from tests.support.problems import problem

pytestmark = pytest.mark.compose


@pytest.fixture
def token(project: Project) -> Iterator[str]:
    """A token for counters, while access control is on."""
    token = run("make", "--silent", "token", "SCOPES=counters:read counters:write").strip()
    arguments = ("up", "--detach", "--no-deps", "--wait", "gateway")
    project.compose(*arguments, GATEWAY_ACCESS="tokens")
    try:
        yield token
    finally:
        project.compose(*arguments, GATEWAY_ACCESS="open")


def test_a_token_opens_what_its_scopes_say(gateway: str, token: str) -> None:
    assert problem(httpx.get(f"{gateway}/counter")) == (401, "unauthorized")
    assert problem(httpx.get(f"{gateway}/v1/users/1")) == (401, "unauthorized")
    with httpx.Client(base_url=gateway, headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.get("/counter").status_code == 200
        assert problem(client.get("/v1/users/1")) == (403, "forbidden")
