"""Users: written to PostgreSQL, read through the cache."""

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from evenkeel.cache import Answer, DatabaseBreaker, Entry, LoadError, ReadThrough
from evenkeel.cache.filling import Load
from user_api.problems import EmailTaken, StateMismatch, UserNotFound, VersionMismatch, unavailable
from user_api.schemas import NewUser, User, UserPatch
from user_api.storage import Tagged, UserStorage

T = TypeVar("T")

SHAPE = json.dumps(User.model_json_schema(), sort_keys=True)
"""Of what the cache holds of a user: a release that changes it does not serve what the one before has left."""


class UserService:
    def __init__(self, storage: UserStorage, cache: ReadThrough[Any], database: DatabaseBreaker) -> None:
        """`database` is the breaker that the cache's loads go through, too."""
        self._storage = storage
        self._cache = cache
        self._database = database
        self.peek = cache.peek
        """What this process may answer at once, by the id in decimal."""

    async def create(self, new: NewUser) -> Tagged:
        try:
            created = await self._database.run(lambda: self._storage.create(new), repeatable=False)
        except LoadError as error:
            raise unavailable(error, write=True) from error
        await self._cache.invalidate([str(created.user.id)])  # that there is no such user may have been remembered
        return created

    async def get(self, user_id: int, *, min_version: int, from_database: bool) -> Answer[Any]:
        """What the cache or the database says; UserNotFound, VersionMismatch."""
        try:
            answer = await self._cache.get(str(user_id), min_version=min_version, from_database=from_database)
        except LoadError as error:
            raise unavailable(error) from error
        if not answer.entry.exists:
            raise UserNotFound(user_id)
        if answer.entry.version < min_version:
            raise VersionMismatch(answer.entry.version)
        return answer

    async def get_many(self, ids: Iterable[int]) -> dict[int, Entry]:
        try:
            found = await self._cache.get_many([str(user_id) for user_id in ids])
        except LoadError as error:
            raise unavailable(error) from error
        return {int(key): entry for key, entry in found.items()}

    async def page(self, *, after: int, limit: int) -> tuple[list[User], bool]:
        """The users of a page, and whether there are more behind it."""
        try:
            users = await self._database.run(lambda: self._storage.page(after=after, limit=limit + 1), repeatable=True)
        except LoadError as error:
            raise unavailable(error) from error
        return users[:limit], len(users) > limit

    async def update(self, user_id: int, patch: UserPatch, tags: frozenset[str] | None) -> Tagged:
        changes = patch.model_dump(exclude_unset=True)
        return await self._change(user_id, lambda: self._storage.update(user_id, changes, tags))

    async def delete(self, user_id: int, tags: frozenset[str] | None) -> None:
        await self._change(user_id, lambda: self._storage.delete(user_id, tags))

    async def _change(self, user_id: int, change: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Change the user, and have it forgotten unless it is certain that nothing has changed."""
        async with self._forgotten(user_id):
            return await self._database.run(change, repeatable=False)

    @asynccontextmanager
    async def _forgotten(self, user_id: int) -> AsyncIterator[None]:
        try:
            yield
        except (UserNotFound, StateMismatch, EmailTaken):
            raise
        except LoadError as error:
            if error.begun:  # a commit whose answer was lost may have taken effect
                await self._cache.invalidate([str(user_id)])
            raise unavailable(error, write=True) from error
        except BaseException:  # as above
            await self._cache.invalidate([str(user_id)])
            raise
        await self._cache.invalidate([str(user_id)])


def loader(storage: UserStorage) -> Load:
    """How the cache reads users from PostgreSQL."""

    async def load(keys: list[str]) -> Mapping[str, Entry]:
        found = await storage.read([int(key) for key in keys])
        return {str(user.id): Entry(user.version, user.model_dump_json().encode(), tag) for user, tag in found}

    return load
