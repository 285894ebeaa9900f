from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from tests.support.books_database import Books, books_with_log, books_without_log

if TYPE_CHECKING:
    # Where the library alone is installed, the servers' module cannot be imported, and these fixtures are not used.
    from tests.support.servers import Servers


@pytest.fixture
async def books(servers: "Servers") -> AsyncIterator[Books]:
    async with books_with_log(servers.postgres) as database:
        yield database


@pytest.fixture
async def bare(servers: "Servers") -> AsyncIterator[Books]:
    async with books_without_log(servers.postgres) as database:
        yield database
