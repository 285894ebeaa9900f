"""Answers given under an Idempotency-Key, kept in PostgreSQL and committed together with the change.

A record holds hashes of the key and of the payload, never the key. The hash of the payload is keyed by the
Idempotency-Key, so a reader of the table cannot try out payloads. The answer contains the user's data. A trigger
deletes it with the user. Refusals, and the answer to the deletion, contain no such data.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, Self
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from evenkeel.cache.errors import LoadError
from evenkeel.http.idempotency import IdempotencyMismatch, RequestKey
from evenkeel.tasks.failures import Failures
from user_api.models import RecordRow

log = logging.getLogger(__name__)

PRUNE_INTERVAL = 60.0
"""Seconds between two prunings by one replica, on average. They vary, so that replicas do not prune together."""

PRUNE_BATCH = 1000
"""Records that one transaction deletes."""

PRUNE_BATCHES = 100
"""Transactions of one pruning at most."""

_ATTEMPTS = 5
"""Attempts to claim a key, since its record may be deleted at the same moment."""


class Changed(NamedTuple):
    """The answer to a change, or its refusal."""

    status: int
    body: str
    """JSON; empty if there is none."""

    user_id: int | None = None
    """The user whose data the body has."""

    tag: bytes | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class RecordKey:
    """The hash under which an answer is remembered, and the hash of what it answers."""

    id: bytes
    payload: bytes

    @classmethod
    def of(cls, key: RequestKey, payload: str) -> Self:
        """The record's key for a request with this key and payload."""
        whose = json.dumps([key.caller, key.method, key.path, key.text]).encode()
        return cls(bytes.fromhex(key.digest()), hmac.digest(whose, payload.encode(), hashlib.sha256))


async def claim(session: AsyncSession, key: RecordKey, ttl: float) -> Changed | None:
    """The answer that was given under the key. None if there was none; then this transaction must `record` one.

    Waits for another transaction that has claimed the key. IdempotencyMismatch if the payload was a different one.
    """
    new = insert(RecordRow).values(
        id=key.id, payload=key.payload, expires_at=func.clock_timestamp() + timedelta(seconds=ttl)
    )
    known = select(
        RecordRow.payload,
        RecordRow.status,
        RecordRow.body,
        RecordRow.user_id,
        RecordRow.tag,
        (RecordRow.expires_at <= func.clock_timestamp()).label("expired"),
    ).where(RecordRow.id == key.id)
    for _ in range(_ATTEMPTS):
        # Not DO UPDATE, which would lock the record: see the migration.
        if await session.scalar(new.on_conflict_do_nothing().returning(RecordRow.id)) is not None:
            return None
        row = (await session.execute(known)).one_or_none()
        if row is None:
            continue
        if row.expired:
            await session.execute(
                delete(RecordRow).where(RecordRow.id == key.id, RecordRow.expires_at <= func.clock_timestamp())
            )
            continue
        if not hmac.compare_digest(row.payload, key.payload):
            raise IdempotencyMismatch
        return Changed(row.status, row.body, row.user_id, row.tag and row.tag.bytes, replayed=True)
    raise LoadError("The record of this Idempotency-Key cannot be had now.")


async def record(session: AsyncSession, key: RecordKey, answer: Changed) -> None:
    """Remember the answer under the key, which this transaction has claimed."""
    await session.execute(
        update(RecordRow)
        .where(RecordRow.id == key.id)
        .values(
            status=answer.status,
            body=answer.body,
            user_id=answer.user_id,
            tag=answer.tag and UUID(bytes=answer.tag),
        )
    )


class Pruner:
    """Deletes records that have expired, a bounded number at a time."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self) -> None:
        """Until cancelled."""
        failures = Failures(log, "idempotency records cannot be pruned")
        while True:
            await asyncio.sleep(PRUNE_INTERVAL * random.uniform(0.5, 1.5))  # noqa: S311 (no secret)
            try:
                pruned = await self.prune()
            except Exception as error:  # noqa: BLE001 (whatever it is, the next time may succeed)
                failures.add(error)
            else:
                failures.end()
                log.debug("idempotency records pruned", extra={"rows": pruned})

    async def prune(self) -> int:
        """Delete expired records, and return how many."""
        # Locked records are being deleted already.
        expired = (
            select(RecordRow.id)
            .where(RecordRow.expires_at <= func.clock_timestamp())
            .order_by(RecordRow.expires_at)
            .limit(PRUNE_BATCH)
            .with_for_update(skip_locked=True)
        )
        total = 0
        for _ in range(PRUNE_BATCHES):
            async with self._engine.begin() as connection:
                deleted = (await connection.execute(delete(RecordRow).where(RecordRow.id.in_(expired)))).rowcount
            total += deleted
            if deleted < PRUNE_BATCH:
                break
        return total
