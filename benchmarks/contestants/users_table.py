"""Users as an application of FastAPI's documentation and templates has them: a model, schemas, a session for each
request.
"""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, DateTime, Identity, Text, Uuid, func
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CONNECTIONS = 10
"""As many as a replica of user-api holds for its requests."""


class Base(DeclarativeBase):
    pass


class UserRow(Base):
    __tablename__ = "template_users"  # made by benchmarks/users.py
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 (SQLAlchemy's)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(BigInteger, server_default="1")
    tag: Mapped[UUID] = mapped_column(Uuid, server_default=func.gen_random_uuid())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class User(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    name: str
    version: int
    created_at: datetime
    updated_at: datetime


class NewUser(BaseModel):
    email: str
    name: str


class UserPatch(BaseModel):
    email: str | None = None
    name: str | None = None


engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=CONNECTIONS, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def changed(user_id: int, patch: UserPatch) -> User | None:
    """The user after the change is committed; None if there is none."""
    async with sessions() as session:
        user = await session.get(UserRow, user_id)
        if user is None:
            return None
        for name, value in patch.model_dump(exclude_unset=True).items():
            setattr(user, name, value)
        user.version += 1
        await session.commit()
        return User.model_validate(user)
