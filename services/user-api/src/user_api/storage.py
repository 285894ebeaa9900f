"""Users in PostgreSQL. Every method is one transaction, committed when it returns; rows never leave this module.

What keeps PostgreSQL from answering is raised as the cache's errors, because it is the cache that stands in for it.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from evenkeel.cache.errors import Busy
from user_api.database import failure
from user_api.models import UserRow
from user_api.problems import EmailTaken, StateMismatch, UserNotFound
from user_api.schemas import NewUser, User

log = logging.getLogger(__name__)

_EMAIL_INDEX = "users_email_key"


class Tagged(NamedTuple):
    """A user, and the tag of the state that it is in."""

    user: User
    tag: bytes


class UserStorage:
    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction whose connection is back in the pool when the block ends, however it ends. Raises LoadError."""
        begun = False
        try:
            async with self._sessions.begin() as session:
                await session.connection()
                begun = True
                yield session
        except PoolTimeoutError:
            raise Busy("All database connections of this replica are busy.") from None
        except Exception as error:
            if isinstance(error, IntegrityError) and _EMAIL_INDEX in str(error.orig):
                raise EmailTaken from None
            if (its := failure(error, begun=begun)) is None:
                raise
            log.warning("the database does not do its work", extra={"reason": str(error.__cause__ or error)})
            raise its from error

    async def create(self, new: NewUser) -> Tagged:
        """Insert; EmailTaken when the address is in use."""
        async with self._transaction() as session:
            row = await session.scalar(insert(UserRow).values(email=new.email, name=new.name).returning(UserRow))
            assert row is not None  # noqa: S101 (an INSERT without conflict clause returns its row)
            return _tagged(row)

    async def read(self, ids: Sequence[int]) -> list[Tagged]:
        """Those of the users that exist, in no particular order."""
        async with self._transaction() as session:
            rows = await session.scalars(select(UserRow).where(UserRow.id.in_(ids)))
            return [_tagged(row) for row in rows]

    async def read_by_email(self, email: str) -> Tagged | None:
        """The user who has this address, in lower case, now."""
        async with self._transaction() as session:
            row = await session.scalar(select(UserRow).where(func.lower(UserRow.email.collate("C")) == email))
            return None if row is None else _tagged(row)

    async def page(self, *, after: int, limit: int) -> list[User]:
        """Up to `limit` users with ids above `after`, in the order of their ids."""
        async with self._transaction() as session:
            rows = await session.scalars(select(UserRow).where(UserRow.id > after).order_by(UserRow.id).limit(limit))
            return [_tagged(row).user for row in rows]

    async def update(self, user_id: int, changes: dict[str, str], tags: frozenset[str] | None) -> Tagged:
        """Apply the changes if the user's tag is one of `tags` (None: any); the database makes the new version and tag.

        UserNotFound, StateMismatch and EmailTaken leave everything as it was.
        """
        async with self._transaction() as session:
            current = await self._lock(session, user_id, tags)
            if not changes:
                return _tagged(current)
            row = await session.scalar(
                update(UserRow)
                .where(UserRow.id == user_id)
                .values(**changes)
                .returning(UserRow)
                .execution_options(populate_existing=True)
            )
            assert row is not None  # noqa: S101 (the row is locked by this transaction)
            return _tagged(row)

    async def delete(self, user_id: int, tags: frozenset[str] | None) -> None:
        """Delete the user if its tag is one of `tags` (None: any); UserNotFound, StateMismatch otherwise."""
        async with self._transaction() as session:
            await self._lock(session, user_id, tags)
            await session.execute(delete(UserRow).where(UserRow.id == user_id))

    @staticmethod
    async def _lock(session: AsyncSession, user_id: int, tags: frozenset[str] | None) -> UserRow:
        row = await session.scalar(select(UserRow).where(UserRow.id == user_id).with_for_update())
        if row is None:
            raise UserNotFound(user_id)
        if tags is not None and row.tag.hex not in tags:
            raise StateMismatch(row.version)
        return row


def _tagged(row: UserRow) -> Tagged:
    # Straight from the table, whose constraints hold: checking every value again would cost more than the query.
    user = User.model_construct(
        id=row.id,
        email=row.email,
        name=row.name,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
    return Tagged(user, row.tag.bytes)
