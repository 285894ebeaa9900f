"""Users: written to PostgreSQL, read through the cache."""

from collections.abc import Mapping
from typing import Any

from evenkeel.cache import Answer, Entry, ReadThrough
from evenkeel.cache.filling import Load
from user_api.problems import UserNotFound, VersionMismatch
from user_api.schemas import NewUser, User, UserPatch
from user_api.storage import UserStorage


class UserService:
    def __init__(self, storage: UserStorage, cache: ReadThrough[Any]) -> None:
        self._storage = storage
        self._cache = cache
        self.peek = cache.peek
        """What this process may answer at once, by the id in decimal."""

    async def create(self, new: NewUser) -> User:
        user = await self._storage.create(new)
        await self._cache.invalidate([str(user.id)])  # that there is no such user may have been remembered
        return user

    async def get(self, user_id: int, *, min_version: int, from_database: bool) -> Answer[Any]:
        """What the cache or the database says; UserNotFound, VersionMismatch."""
        answer = await self._cache.get(str(user_id), min_version=min_version, from_database=from_database)
        if not answer.entry.exists:
            raise UserNotFound(user_id)
        if answer.entry.version < min_version:
            raise VersionMismatch(answer.entry.version)
        return answer

    async def get_many(self, ids: list[int]) -> dict[int, Entry]:
        found = await self._cache.get_many([str(user_id) for user_id in ids])
        return {int(key): entry for key, entry in found.items()}

    async def page(self, *, after: int, limit: int) -> tuple[list[User], bool]:
        """The users of a page, and whether there are more behind it."""
        users = await self._storage.page(after=after, limit=limit + 1)
        return users[:limit], len(users) > limit

    async def update(self, user_id: int, patch: UserPatch, versions: frozenset[int] | None) -> User:
        try:
            return await self._storage.update(user_id, patch.model_dump(exclude_unset=True), versions)
        finally:  # also where it failed: a commit whose answer was lost may have taken effect
            await self._cache.invalidate([str(user_id)])

    async def delete(self, user_id: int, versions: frozenset[int] | None) -> None:
        try:
            await self._storage.delete(user_id, versions)
        finally:  # as above
            await self._cache.invalidate([str(user_id)])


def loader(storage: UserStorage) -> Load:
    """How the cache reads users from PostgreSQL."""

    async def load(keys: list[str]) -> Mapping[str, Entry]:
        users = await storage.read([int(key) for key in keys])
        return {str(user.id): Entry(user.version, user.model_dump_json().encode()) for user in users}

    return load
