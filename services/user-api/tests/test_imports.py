"""A replica imports no more than it uses: it would hold it in memory, and start later."""

import pytest
from tests.support.imported import imported_by

pytestmark = pytest.mark.anyio

UNUSED = {"alembic", "fastapi_offline", "greenlet", "mako", "pydantic.v1.main", "sqlalchemy"}


async def test_a_replica_that_is_ready_has_imported_nothing_for_other_commands(
    database_url: str, cache_url: str, cache_key: str
) -> None:
    names = {"DATABASE_URL": database_url, "CACHE_URL": cache_url, "CACHE_KEYS": cache_key}
    imported = await imported_by("user-api", {f"USER_API_{name}": value for name, value in names.items()})
    assert {"asyncpg", "redis", "user_api.routes"} <= imported
    assert imported & UNUSED == set()
