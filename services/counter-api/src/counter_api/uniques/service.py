"""Counting unique members, apart from HTTP and from where the hashes are."""

from counter_api.uniques.members import MemberHash
from counter_api.uniques.problems import UniquesOff
from counter_api.uniques.storage import Estimate, UniquesStore
from evenkeel.problems import NotFound


class Uniques:
    def __init__(self, store: UniquesStore, key: bytes | None) -> None:
        """Without a key every call raises UniquesOff."""
        self._store = store
        self._hash = None if key is None else MemberHash(key)

    async def add(self, name: str, member: str) -> Estimate:
        member_hash = self._require_hash()(name, member)
        return await self._store.add(name, member_hash)

    async def count(self, name: str) -> Estimate:
        """Raise NotFound if nobody was ever added."""
        self._require_hash()
        estimate = await self._store.count(name)
        if estimate.value == 0:
            raise _nobody(name)
        return estimate

    async def delete(self, name: str) -> None:
        """Raise NotFound if nobody was ever added."""
        self._require_hash()
        if not await self._store.delete(name):
            raise _nobody(name)

    def _require_hash(self) -> MemberHash:
        if self._hash is None:
            raise UniquesOff
        return self._hash


def _nobody(name: str) -> NotFound:
    return NotFound(f"Nobody was ever added to {name}.")
