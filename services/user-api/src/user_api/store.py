"""Users in PostgreSQL. Each method is one transaction, committed when it returns. Rows never leave this module.

Failures of PostgreSQL are raised as the cache's errors, because cached entries stand in for it.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import asyncpg
from pydantic_core import to_json

from evenkeel.cache.errors import LoadError
from evenkeel.http.etags import Tags
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import Problem
from user_api.idempotency import Changed, RecordKey, claim, record
from user_api.pool import Pool, Transaction
from user_api.problems import EmailTaken, ReplayedRefusal, StateMismatch, UserNotFound
from user_api.schemas import NewUser, User
from user_api.statements import Statement

_EMAIL_INDEX = "users_email_key"
_REFUSED = 400
"""The lowest status of a refusal."""

_ATTEMPTS = 5
"""Attempts to change a user who changes at the same moment."""

_TAG = re.compile("[0-9a-f]{32}")

COLUMNS = (*User.model_fields, "tag")
"""Of the table `users`. These names and those below are constants, so statements may be put together from them."""

_ROW = ", ".join(COLUMNS)
# The row's tag is one of `match` and none of `none_match`. Null stands for no condition. PostgreSQL judges this again
# if it had to wait for another writer of the row.
_HOLDS = """id = $user_id::bigint
    AND ($match::uuid[] IS NULL OR tag = ANY ($match::uuid[]))
    AND ($none_match::uuid[] IS NULL OR tag <> ALL ($none_match::uuid[]))"""

_INSERT = Statement(f"INSERT INTO users (email, name) VALUES ($email, $name) RETURNING {_ROW}")  # noqa: S608
_READ = Statement(f"SELECT {_ROW} FROM users WHERE id = ANY ($ids::bigint[])")  # noqa: S608
_READ_BY_EMAIL = Statement(f'SELECT {_ROW} FROM users WHERE lower(email COLLATE "C") = $email')  # noqa: S608
_PAGE = Statement(f"SELECT {_ROW} FROM users WHERE id > $after::bigint ORDER BY id LIMIT $most::bigint")  # noqa: S608
_UPDATE = Statement(
    f"UPDATE users SET email = coalesce($email, email), name = coalesce($name, name) WHERE {_HOLDS} RETURNING {_ROW}"  # noqa: S608
)
_DELETE = Statement(f"DELETE FROM users WHERE {_HOLDS} RETURNING id")  # noqa: S608


class StoredUser(NamedTuple):
    """A user as answers have it, and the tag of its state."""

    id: int
    version: int
    tag: bytes
    body: bytes
    """JSON."""


class _Database(Protocol):
    async def fetch(self, statement: Statement, **values: Any) -> list[Any]: ...


_Change = Callable[[_Database], Awaitable[Changed]]


class UserStore:
    def __init__(self, pool: Pool, *, idempotency_ttl: float) -> None:
        """`idempotency_ttl`: seconds for which an answer under an Idempotency-Key is kept."""
        self._pool = pool
        self._idempotency_ttl = idempotency_ttl

    async def create(self, new: NewUser, key: RecordKey | None) -> Changed:
        """Insert a user. EmailTaken if the address is in use."""

        async def insert_user(database: _Database) -> Changed:
            with _email_of_another():
                [row] = await database.fetch(_INSERT, email=new.email, name=new.name)
            return _answer(201, row)

        return await self._change(insert_user, key)

    async def read(self, ids: Sequence[int]) -> list[StoredUser]:
        """The users that exist, in no particular order."""
        return [_stored(row) for row in await self._pool.fetch(_READ, ids=ids)]

    async def read_by_email(self, email: str) -> StoredUser | None:
        """The user who has this address now. `email` is in lower case."""
        rows = await self._pool.fetch(_READ_BY_EMAIL, email=email)
        return _stored(rows[0]) if rows else None

    async def page(self, *, after: int, limit: int) -> list[StoredUser]:
        """Up to `limit` users with ids above `after`, in the order of their ids."""
        return [_stored(row) for row in await self._pool.fetch(_PAGE, after=after, most=limit)]

    async def update(
        self, user_id: int, changes: dict[str, str], preconditions: Preconditions, key: RecordKey | None
    ) -> Changed:
        """Apply the changes if the preconditions hold; the database makes the new version and tag.

        UserNotFound, StateMismatch and EmailTaken leave everything as it was.
        """

        async def update_user(database: _Database) -> Changed:
            if not changes:
                return _answer(200, await _current(database, user_id, preconditions))
            values = {"email": None, "name": None} | changes
            with _email_of_another():
                return _answer(200, await _judged(database, _UPDATE, user_id, preconditions, **values))

        return await self._change(update_user, key)

    async def delete(self, user_id: int, preconditions: Preconditions, key: RecordKey | None) -> Changed:
        """Delete the user if the preconditions hold. Raises UserNotFound, StateMismatch."""

        async def delete_user(database: _Database) -> Changed:
            await _judged(database, _DELETE, user_id, preconditions)
            return Changed(204, "")

        return await self._change(delete_user, key)

    async def _change(self, change: _Change, key: RecordKey | None) -> Changed:
        """Make the change. Under a key it is made once, and recorded with its answer or refusal in one transaction.

        Raises IdempotencyMismatch, and ReplayedRefusal for a request that was refused before.
        """
        if key is None:
            return await change(self._pool)
        refusal: Problem | None = None
        async with self._pool.transaction() as transaction:
            answer = await claim(transaction, key, self._idempotency_ttl)
            if answer is None:
                answer, refusal = await _attempted(transaction, change)
                await record(transaction, key, answer)
        # Now it is committed.
        if refusal is not None:
            raise refusal
        if answer.status >= _REFUSED:
            raise ReplayedRefusal(answer.body)
        return answer


async def _attempted(transaction: Transaction, change: _Change) -> tuple[Changed, Problem | None]:
    """The answer to record, and the refusal. A refusal undoes what the change did, and the transaction goes on."""
    try:
        async with transaction.savepoint():
            return await change(transaction), None
    except (UserNotFound, StateMismatch, EmailTaken) as problem:
        return Changed(problem.status, json.dumps(problem.document(), separators=(",", ":"))), problem


async def _judged(
    database: _Database, statement: Statement, user_id: int, preconditions: Preconditions, **values: Any
) -> Any:
    """The row that the statement returns. Raises UserNotFound and StateMismatch, after which nothing has changed."""
    match, none_match = _uuids(preconditions.match), _uuids(preconditions.none_match)
    if preconditions.match is not None and preconditions.match.every:
        match = None
    if preconditions.none_match is not None and preconditions.none_match.every:
        match = []  # a user who exists is in some state
    for _ in range(_ATTEMPTS):
        rows = await database.fetch(statement, user_id=user_id, match=match, none_match=none_match, **values)
        if rows:
            return rows[0]
        await _current(database, user_id, preconditions)
        # The user has changed in between, and the preconditions hold now.
    raise LoadError("The user changes all the time.")


async def _current(database: _Database, user_id: int, preconditions: Preconditions) -> Any:
    rows = await database.fetch(_READ, ids=[user_id])
    if not rows:
        raise UserNotFound(user_id)
    if not preconditions.hold(rows[0]["tag"].hex):
        raise StateMismatch(rows[0]["version"])
    return rows[0]


def _uuids(tags: Tags | None) -> list[UUID] | None:
    """The tags that a user can have. No state has any other one."""
    return None if tags is None else [UUID(hex=state) for state in tags.states if _TAG.fullmatch(state)]


@contextmanager
def _email_of_another() -> Iterator[None]:
    """Raise EmailTaken where the statement meets the unique index of addresses."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == _EMAIL_INDEX:
            raise EmailTaken from None
        raise


def _answer(status: int, row: Any) -> Changed:
    user = _stored(row)
    return Changed(status, user.body.decode(), user.id, user.tag)


def _stored(row: Any) -> StoredUser:
    # Unchecked: the table's constraints hold. Without a model, since that costs more than the query.
    members = dict(row)
    tag: bytes = members.pop("tag").bytes
    return StoredUser(row["id"], row["version"], tag, to_json(members))
