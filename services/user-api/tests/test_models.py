"""The models for SQLAlchemy are what the migrations make, and what the statements use."""

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import create_async_engine

from user_api.database_url import parse_database_url
from user_api.models import Base, UserRow
from user_api.store import COLUMNS


@pytest.mark.anyio
async def test_models_are_what_the_migrations_make(database_url: str) -> None:
    place = parse_database_url(database_url).place
    engine = create_async_engine(URL.create("postgresql+asyncpg"), connect_args=place)
    async with engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
    await engine.dispose()


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": _is_modelled})
    differences: list[Any] = compare_metadata(context, Base.metadata)
    return differences


def _is_modelled(name: str | None, kind: str, _: object) -> bool:
    """The change log has tables of its own. Indexes are the migrations' alone."""
    return name in Base.metadata.tables if kind == "table" else kind != "index"


def test_reads_have_every_column() -> None:
    assert set(COLUMNS) == set(UserRow.__table__.columns.keys())
