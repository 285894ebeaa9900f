"""Users in PostgreSQL. Each method is one transaction, committed when it returns. Rows never leave this module.

Failures of PostgreSQL are raised as the cache's errors, because cached entries stand in for it.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from evenkeel.cache.errors import Busy
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import Problem
from user_api.database import failure
from user_api.idempotency import Changed, RecordKey, claim, record
from user_api.models import UserRow
from user_api.problems import EmailTaken, ReplayedRefusal, StateMismatch, UserNotFound
from user_api.schemas import NewUser, User

log = logging.getLogger(__name__)

_EMAIL_INDEX = "users_email_key"
_REFUSED = 400
"""The lowest status of a refusal."""


class Tagged(NamedTuple):
    """A user, and the tag of its state."""

    user: User
    tag: bytes


class UserStorage:
    def __init__(self, engine: AsyncEngine, *, idempotency_ttl: float) -> None:
        """`idempotency_ttl`: seconds for which an answer under an Idempotency-Key is kept."""
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._idempotency_ttl = idempotency_ttl

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction. Its connection is back in the pool when the block ends, however it ends. Raises LoadError."""
        begun = False
        try:
            async with self._sessions.begin() as session:
                await session.connection()
                begun = True
                yield session
        except PoolTimeoutError:
            raise Busy("All database connections of this replica are busy.") from None
        except Exception as error:
            if (its := failure(error, begun=begun)) is None:
                raise
            log.warning("the database does not do its work", extra={"reason": str(error.__cause__ or error)})
            raise its from error

    async def create(self, new: NewUser, key: RecordKey | None) -> Changed:
        """Insert a user. EmailTaken if the address is in use."""

        async def insert_user(session: AsyncSession) -> Changed:
            with _email_of_another():
                row = await session.scalar(insert(UserRow).values(email=new.email, name=new.name).returning(UserRow))
            assert row is not None  # noqa: S101 (an INSERT without conflict clause returns its row)
            return _answer(201, row)

        return await self._change(insert_user, key)

    async def read(self, ids: Sequence[int]) -> list[Tagged]:
        """The users that exist, in no particular order."""
        async with self._transaction() as session:
            rows = await session.scalars(select(UserRow).where(UserRow.id.in_(ids)))
            return [_tagged(row) for row in rows]

    async def read_by_email(self, email: str) -> Tagged | None:
        """The user who has this address now. `email` is in lower case."""
        async with self._transaction() as session:
            row = await session.scalar(select(UserRow).where(func.lower(UserRow.email.collate("C")) == email))
            return None if row is None else _tagged(row)

    async def page(self, *, after: int, limit: int) -> list[User]:
        """Up to `limit` users with ids above `after`, in the order of their ids."""
        async with self._transaction() as session:
            rows = await session.scalars(select(UserRow).where(UserRow.id > after).order_by(UserRow.id).limit(limit))
            return [_tagged(row).user for row in rows]

    async def update(
        self, user_id: int, changes: dict[str, str], preconditions: Preconditions, key: RecordKey | None
    ) -> Changed:
        """Apply the changes if the preconditions hold; the database makes the new version and tag.

        UserNotFound, StateMismatch and EmailTaken leave everything as it was.
        """

        async def update_user(session: AsyncSession) -> Changed:
            current = await self._lock(session, user_id, preconditions)
            if not changes:
                return _answer(200, current)
            changed = update(UserRow).where(UserRow.id == user_id).values(**changes).returning(UserRow)
            with _email_of_another():
                row = await session.scalar(changed.execution_options(populate_existing=True))
            assert row is not None  # noqa: S101 (the row is locked by this transaction)
            return _answer(200, row)

        return await self._change(update_user, key)

    async def delete(self, user_id: int, preconditions: Preconditions, key: RecordKey | None) -> Changed:
        """Delete the user if the preconditions hold. Raises UserNotFound, StateMismatch."""

        async def delete_user(session: AsyncSession) -> Changed:
            await self._lock(session, user_id, preconditions)
            await session.execute(delete(UserRow).where(UserRow.id == user_id))
            return Changed(204, "")

        return await self._change(delete_user, key)

    async def _change(self, change: Callable[[AsyncSession], Awaitable[Changed]], key: RecordKey | None) -> Changed:
        """Make the change in one transaction. Under a key it is made once, and recorded with its answer or refusal.

        Raises IdempotencyMismatch, and ReplayedRefusal for a request that was refused before.
        """
        if key is None:
            async with self._transaction() as session:
                return await change(session)
        refusal: Problem | None = None
        async with self._transaction() as session:
            answer = await claim(session, key, self._idempotency_ttl)
            if answer is None:
                try:
                    # A refusal undoes what this block did, and the transaction goes on.
                    async with session.begin_nested():
                        answer = await change(session)
                except (UserNotFound, StateMismatch, EmailTaken) as problem:
                    refusal = problem
                    answer = Changed(problem.status, json.dumps(problem.document(), separators=(",", ":")))
                await record(session, key, answer)
        # Now it is committed.
        if refusal is not None:
            raise refusal
        if answer.status >= _REFUSED:
            raise ReplayedRefusal(answer.body)
        return answer

    @staticmethod
    async def _lock(session: AsyncSession, user_id: int, preconditions: Preconditions) -> UserRow:
        row = await session.scalar(select(UserRow).where(UserRow.id == user_id).with_for_update())
        if row is None:
            raise UserNotFound(user_id)
        if not preconditions.hold(row.tag.hex):
            raise StateMismatch(row.version)
        return row


@contextmanager
def _email_of_another() -> Iterator[None]:
    """Raise EmailTaken where the statement meets the unique index of addresses."""
    try:
        yield
    except IntegrityError as error:
        if _EMAIL_INDEX in str(error.orig):
            raise EmailTaken from None
        raise


def _answer(status: int, row: UserRow) -> Changed:
    user, tag = _tagged(row)
    return Changed(status, user.model_dump_json(), user.id, tag)


def _tagged(row: UserRow) -> Tagged:
    # Unchecked: the table's constraints hold, and checking each value again would cost more than the query.
    user = User.model_construct(
        id=row.id,
        email=row.email,
        name=row.name,
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
    return Tagged(user, row.tag.bytes)
