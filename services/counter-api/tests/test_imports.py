"""A replica imports no more than it uses: it would hold it in memory, and start later."""

import pytest
from tests.support.imported import imported_by

pytestmark = pytest.mark.anyio

UNUSED = {"asyncpg", "cryptography.hazmat", "evenkeel.cache", "fastapi_offline", "pydantic.v1.main", "sqlalchemy"}


async def test_a_replica_that_is_ready_has_imported_nothing_of_the_cache(counters_url: str) -> None:
    imported = await imported_by("counter-api", {"COUNTER_API_REDIS_URL": counters_url})
    assert {"redis", "counter_api.counters.routes"} <= imported
    assert imported & UNUSED == set()
