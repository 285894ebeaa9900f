"""Users: written to PostgreSQL, read through the cache."""

from collections.abc import Mapping

from evenkeel.cache.entry import Entry
from evenkeel.cache.read_through import Answer, Load, ReadThrough
from user_api.problems import UserNotFound, VersionMismatch
from user_api.schemas import NewUser, User, UserPatch
from user_api.storage import UserStorage


class UserService:
    def __init__(self, storage: UserStorage, cache: ReadThrough) -> None:
        self._storage = storage
        self._cache = cache

    async def create(self, new: NewUser) -> User:
        return await self._storage.create(new)

    async def get(self, user_id: int, *, min_version: int, from_database: bool) -> tuple[Answer, Entry]:
        """What the cache or the database says, and the user in it; UserNotFound, VersionMismatch."""
        answer = await self._cache.get(user_id, min_version=min_version, from_database=from_database)
        if answer.entry is None:
            raise UserNotFound(user_id)
        if answer.entry.version < min_version:
            raise VersionMismatch(answer.entry.version)
        return answer, answer.entry

    async def get_many(self, ids: list[int]) -> dict[int, Entry]:
        return await self._cache.get_many(ids)

    async def page(self, *, after: int, limit: int) -> tuple[list[User], bool]:
        """The users of a page, and whether there are more behind it."""
        users = await self._storage.page(after=after, limit=limit + 1)
        return users[:limit], len(users) > limit

    async def update(self, user_id: int, patch: UserPatch, versions: frozenset[int] | None) -> User:
        try:
            return await self._storage.update(user_id, patch.model_dump(exclude_unset=True), versions)
        finally:  # also where it failed: a commit whose answer was lost may have taken effect
            await self._cache.invalidate(user_id)

    async def delete(self, user_id: int, versions: frozenset[int] | None) -> None:
        try:
            await self._storage.delete(user_id, versions)
        finally:  # as above
            await self._cache.invalidate(user_id)


def loader(storage: UserStorage) -> Load:
    """How the cache reads users from PostgreSQL."""

    async def load(ids: list[int]) -> Mapping[int, Entry]:
        return {user.id: Entry(user.version, user.model_dump_json().encode()) for user in await storage.read(ids)}

    return load
