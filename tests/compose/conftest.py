"""A compose project that is running: `pytest tests/compose --compose PROJECT --gateway URL`.

It must have been started from this repository. Afterwards it has as many replicas as before.
"""

import uuid

import httpx
import pytest
from tests.support.compose_project import Project
from tests.support.steady_load import SteadyLoad
from tests.support.users import create


@pytest.fixture(scope="session")
def project(request: pytest.FixtureRequest) -> Project:
    if not (request.config.option.compose and request.config.option.gateway):
        pytest.fail("which project? --compose PROJECT --gateway URL")
    return Project(request.config.option.compose)


@pytest.fixture(scope="session")
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.config.option.gateway).rstrip("/")


@pytest.fixture
async def steady(gateway: str) -> SteadyLoad:
    """Reads, and increments with and without a key."""
    async with httpx.AsyncClient(base_url=gateway, timeout=30) as client:
        user = await create(client, email=f"{uuid.uuid4().hex}@example.com")
    return SteadyLoad(gateway, user["id"], f"test:{uuid.uuid4().hex}", unkeyed=True)
