"""Users in PostgreSQL. Every method is one transaction, committed when it returns; rows never leave this module."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from evenkeel.problems import Unavailable
from user_api.models import UserRow
from user_api.problems import EmailTaken, UserNotFound, VersionMismatch
from user_api.schemas import NewUser, User

log = logging.getLogger(__name__)

_EMAIL_INDEX = "users_email_key"


class UserStorage:
    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction whose connection is back in the pool when the block ends, however it ends."""
        try:
            async with self._sessions.begin() as session:
                yield session
        except IntegrityError as error:
            if _EMAIL_INDEX in str(error.orig):
                raise EmailTaken from None
            raise
        except PoolTimeoutError:
            raise Unavailable("All database connections of this replica are busy.") from None
        except (OSError, TimeoutError) as error:
            log.warning("the database does not answer", extra={"reason": str(error) or type(error).__name__})
            raise Unavailable("The database does not answer.") from error
        except DBAPIError as error:
            if isinstance(error, DataError | IntegrityError):
                raise
            log.warning("the database cannot do its work", extra={"reason": str(error.orig)})
            raise Unavailable("The database cannot do its work now.") from error

    async def create(self, new: NewUser) -> User:
        """Insert; EmailTaken when the address is in use."""
        async with self._transaction() as session:
            row = await session.scalar(insert(UserRow).values(email=new.email, name=new.name).returning(UserRow))
            assert row is not None  # noqa: S101 (an INSERT without conflict clause returns its row)
            return _user(row)

    async def read(self, ids: Sequence[int]) -> list[User]:
        """Those of the users that exist, in no particular order."""
        async with self._transaction() as session:
            rows = await session.scalars(select(UserRow).where(UserRow.id.in_(ids)))
            return [_user(row) for row in rows]

    async def page(self, *, after: int, limit: int) -> list[User]:
        """Up to `limit` users with ids above `after`, in the order of their ids."""
        async with self._transaction() as session:
            rows = await session.scalars(select(UserRow).where(UserRow.id > after).order_by(UserRow.id).limit(limit))
            return [_user(row) for row in rows]

    async def update(self, user_id: int, changes: dict[str, str], versions: frozenset[int] | None) -> User:
        """Apply the changes if the user is at one of `versions` (None: at any); the database makes the new version.

        UserNotFound, VersionMismatch and EmailTaken leave everything as it was.
        """
        async with self._transaction() as session:
            current = await self._lock(session, user_id, versions)
            if not changes:
                return _user(current)
            row = await session.scalar(
                update(UserRow)
                .where(UserRow.id == user_id)
                .values(**changes)
                .returning(UserRow)
                .execution_options(populate_existing=True)
            )
            assert row is not None  # noqa: S101 (the row is locked by this transaction)
            return _user(row)

    async def delete(self, user_id: int, versions: frozenset[int] | None) -> None:
        """Delete the user if it is at one of `versions` (None: at any); UserNotFound, VersionMismatch otherwise."""
        async with self._transaction() as session:
            await self._lock(session, user_id, versions)
            await session.execute(delete(UserRow).where(UserRow.id == user_id))

    @staticmethod
    async def _lock(session: AsyncSession, user_id: int, versions: frozenset[int] | None) -> UserRow:
        row = await session.scalar(select(UserRow).where(UserRow.id == user_id).with_for_update())
        if row is None:
            raise UserNotFound(user_id)
        if versions is not None and row.version not in versions:
            raise VersionMismatch(row.version)
        return row


def _user(row: UserRow) -> User:
    # Straight from the table, whose constraints hold: checking every value again would cost more than the query.
    return User.model_construct(
        id=row.id,
        email=row.email,
        name=row.name,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
