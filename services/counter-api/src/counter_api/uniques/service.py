"""Counting unique members, apart from HTTP and from the store of the hashes."""

from counter_api.counters.operations import once
from counter_api.uniques.members import MemberHash
from counter_api.uniques.problems import UniquesNotFound, UniquesOff
from counter_api.uniques.store import Estimate, UniquesStore
from evenkeel.http.idempotency import RequestKey, replayed


class UniquesService:
    def __init__(self, store: UniquesStore, key: bytes | None) -> None:
        """Without a key every call raises UniquesOff."""
        self._store = store
        self._hash = None if key is None else MemberHash(key)

    async def add(self, name: str, member: str, key: RequestKey | None) -> Estimate:
        member_hash = self._require_hash()(name, member)
        return await self._store.add(name, member_hash, None if key is None else once(key, member_hash))

    async def count(self, name: str) -> Estimate:
        """Raise UniquesNotFound if no member was ever added."""
        self._require_hash()
        estimate = await self._store.count(name)
        if estimate.value == 0:
            raise UniquesNotFound(name)
        return estimate

    async def delete(self, name: str, key: RequestKey | None) -> bool:
        """Whether it was done before, under this key. Raise UniquesNotFound if no member was ever added."""
        self._require_hash()
        forgotten = await self._store.delete(name, None if key is None else once(key))
        if not forgotten.existed:
            missing = UniquesNotFound(name)
            raise replayed(missing) if forgotten.replayed else missing
        return forgotten.replayed

    def _require_hash(self) -> MemberHash:
        if self._hash is None:
            raise UniquesOff
        return self._hash
