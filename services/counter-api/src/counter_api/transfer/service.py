"""Export and import, apart from HTTP."""

import uuid
from collections.abc import AsyncIterable

from counter_api.transfer.importing import Import, Imported
from counter_api.transfer.store import TransferStore
from evenkeel.http.idempotency import RequestKey

KEEP_WITHOUT_KEY = 60
"""Seconds for which the record of an import without a key is kept after its last batch."""


class TransferService:
    def __init__(self, store: TransferStore, *, idempotency_ttl: int) -> None:
        """`idempotency_ttl` is in seconds."""
        self._store = store
        self._idempotency_ttl = idempotency_ttl
        self.export = store.export

    async def import_lines(self, body: AsyncIterable[bytes], key: RequestKey | None) -> Imported:
        """Raise the problem of the first wrong line, or Unavailable. `applied` of both says how far the import came."""
        if key is None:
            record, keep = uuid.uuid4().hex, KEEP_WITHOUT_KEY
        else:
            record, keep = key.digest(), self._idempotency_ttl
        return await Import(self._store, record, keep).run(body)
