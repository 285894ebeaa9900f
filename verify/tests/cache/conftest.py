import pytest
from tests.support.servers import Servers
from tests.support.users_database import empty_users_database


@pytest.fixture
def database_url(servers: Servers) -> str:
    """PostgreSQL with the current schema and no users."""
    return empty_users_database(servers.postgres)
