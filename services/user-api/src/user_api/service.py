"""Users: written to PostgreSQL, read through the cache."""

import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from evenkeel.cache import Answer, DatabaseBreaker, Entry, LoadError, ReadThrough
from evenkeel.cache.filling import Load
from evenkeel.http.preconditions import Preconditions
from evenkeel.http.problems import Problem
from user_api.idempotency import Changed, RecordKey
from user_api.problems import NobodyHasEmail, UserNotFound, VersionMismatch, unavailable
from user_api.schemas import NewUser, User, UserPatch
from user_api.store import StoredUser, UserStore

_KEY = re.compile("[1-9][0-9]{0,17}")
"""The keys that are accepted from a hint in Redis, which other clients could have written."""

SHAPE = json.dumps(User.model_json_schema(), sort_keys=True)
"""The shape of cached users. A release that changes it does not serve entries of the previous release."""


class UserService:
    def __init__(self, store: UserStore, cache: ReadThrough[Any], database: DatabaseBreaker) -> None:
        """`database` is the breaker that the cache's loads go through as well."""
        self._store = store
        self._cache = cache
        self._database = database
        self.peek = cache.peek
        """The user in process memory, by the id in decimal; None if memory may not answer."""

    async def create(self, new: NewUser, key: RecordKey | None = None) -> Changed:
        try:
            created = await self._database.run(lambda: self._store.create(new, key), repeatable=key is not None)
        except LoadError as error:
            raise unavailable(error, write=True) from error
        await self._cache.invalidate([str(created.user_id)])  # the cache may hold the fact that there is no such user
        return created

    async def get(self, user_id: int, *, min_version: int, from_database: bool) -> Answer[Any]:
        """The user by id, from the cache or the database. Raises UserNotFound, VersionMismatch."""
        answer = await self._get(str(user_id), min_version=min_version, from_database=from_database)
        if not answer.entry.exists:
            raise UserNotFound(user_id)
        if answer.entry.version < min_version:
            raise VersionMismatch(answer.entry.version)
        return answer

    async def get_by_email(self, email: str, *, min_version: int, from_database: bool) -> Answer[Any]:
        """The user who has this address, in any letter case. Raises NobodyHasEmail, VersionMismatch."""
        email = email.lower()
        answer = None
        if not from_database and (key := await self._cache.aliases.find(email)) is not None and _KEY.fullmatch(key):
            answer = await self._get(key, min_version=min_version)
        if answer is None or not _has(answer.entry, email):
            answer = await self._find(email, min_version=min_version, from_database=from_database)
        if answer.entry.version < min_version:
            raise VersionMismatch(answer.entry.version)
        return answer

    async def _find(self, email: str, *, min_version: int, from_database: bool) -> Answer[Any]:
        """Find the user's id in PostgreSQL, and read the user through the cache, which fills it for later readers."""
        try:
            found = await self._database.run(lambda: self._store.read_by_email(email), repeatable=True)
        except LoadError as error:
            raise unavailable(error) from error
        if found is None:
            raise NobodyHasEmail
        key, row = str(found.id), _entry(found)
        await self._cache.aliases.note(email, key)
        answer = await self._get(key, min_version=min_version, from_database=from_database)
        # The cache may have the user as they were just before they got this address.
        return answer if _has(answer.entry, email) else Answer(row, "database", answer.statuses)

    async def _get(self, key: str, *, min_version: int, from_database: bool = False) -> Answer[Any]:
        try:
            return await self._cache.get(key, min_version=min_version, from_database=from_database)
        except LoadError as error:
            raise unavailable(error) from error

    async def get_many(self, ids: Iterable[int]) -> dict[int, Entry]:
        try:
            found = await self._cache.get_many([str(user_id) for user_id in ids])
        except LoadError as error:
            raise unavailable(error) from error
        return {int(key): entry for key, entry in found.items()}

    async def page(self, *, after: int, limit: int) -> tuple[list[StoredUser], bool]:
        """The users of a page, and whether there are more after it."""
        try:
            users = await self._database.run(lambda: self._store.page(after=after, limit=limit + 1), repeatable=True)
        except LoadError as error:
            raise unavailable(error) from error
        return users[:limit], len(users) > limit

    async def update(
        self, user_id: int, patch: UserPatch, preconditions: Preconditions, key: RecordKey | None = None
    ) -> Changed:
        changes = patch.model_dump(exclude_unset=True)
        change = partial(self._store.update, user_id, changes, preconditions, key)
        return await self._change(user_id, change, repeatable=key is not None)

    async def delete(self, user_id: int, preconditions: Preconditions, key: RecordKey | None = None) -> Changed:
        change = partial(self._store.delete, user_id, preconditions, key)
        return await self._change(user_id, change, repeatable=key is not None)

    async def _change(
        self, user_id: int, change: Callable[[], Coroutine[Any, Any, Changed]], *, repeatable: bool
    ) -> Changed:
        """Change the user, and invalidate it unless certainly nothing has changed."""
        async with self._forgotten(user_id):
            return await self._database.run(change, repeatable=repeatable)

    @asynccontextmanager
    async def _forgotten(self, user_id: int) -> AsyncIterator[None]:
        try:
            yield
        except Problem:  # a refusal
            raise
        except LoadError as error:
            if error.begun:  # a commit whose answer was lost may have taken effect
                await self._cache.invalidate([str(user_id)])
            raise unavailable(error, write=True) from error
        except BaseException:  # the outcome is unknown as well
            await self._cache.invalidate([str(user_id)])
            raise
        await self._cache.invalidate([str(user_id)])


def loader(store: UserStore) -> Load:
    """How the cache reads users from PostgreSQL."""

    async def load(keys: list[str]) -> Mapping[str, Entry]:
        found = await store.read([int(key) for key in keys])
        return {str(user.id): _entry(user) for user in found}

    return load


def _entry(user: StoredUser) -> Entry:
    return Entry(user.version, user.body, user.tag)


def _has(entry: Entry, email: str) -> bool:
    """Whether the user exists and has this address, compared as the index does: ASCII, in any letter case."""
    if not entry.exists:
        return False
    has: str = json.loads(entry.payload)["email"]
    return has.isascii() and has.lower() == email
