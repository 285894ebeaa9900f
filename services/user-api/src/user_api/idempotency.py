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

from evenkeel.cache.errors import LoadError
from evenkeel.http.idempotency import IdempotencyMismatch, RequestKey
from evenkeel.tasks.failures import Failures
from user_api.pool import Pool, Transaction
from user_api.statements import Statement

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


# Not DO UPDATE, which would lock the record: see the migration.
_CLAIM = Statement(
    "INSERT INTO user_idempotency_records (id, payload, expires_at)"
    " VALUES ($id, $payload, clock_timestamp() + $ttl::interval) ON CONFLICT DO NOTHING RETURNING id"
)
_KNOWN = Statement(
    "SELECT payload, status, body, user_id, tag, expires_at <= clock_timestamp() AS expired"
    " FROM user_idempotency_records WHERE id = $key"
)
_FORGET_EXPIRED = Statement("DELETE FROM user_idempotency_records WHERE id = $key AND expires_at <= clock_timestamp()")
_RECORD = Statement(
    "UPDATE user_idempotency_records SET status = $status, body = $body, user_id = $user_id, tag = $tag WHERE id = $key"
)
# Locked records are being deleted already.
_PRUNE = Statement(
    "DELETE FROM user_idempotency_records WHERE id IN ("
    "SELECT id FROM user_idempotency_records WHERE expires_at <= clock_timestamp()"
    " ORDER BY expires_at LIMIT $most::bigint FOR UPDATE SKIP LOCKED) RETURNING true"
)


async def claim(transaction: Transaction, key: RecordKey, ttl: float) -> Changed | None:
    """The answer that was given under the key. None if there was none; then this transaction must `record` one.

    Waits for another transaction that has claimed the key. IdempotencyMismatch if the payload was a different one.
    """
    for _ in range(_ATTEMPTS):
        if await transaction.fetch(_CLAIM, id=key.id, payload=key.payload, ttl=timedelta(seconds=ttl)):
            return None
        known = await transaction.fetch(_KNOWN, key=key.id)
        if not known:
            continue
        [row] = known
        if row["expired"]:
            await transaction.fetch(_FORGET_EXPIRED, key=key.id)
            continue
        if not hmac.compare_digest(row["payload"], key.payload):
            raise IdempotencyMismatch
        return Changed(row["status"], row["body"], row["user_id"], row["tag"] and row["tag"].bytes, replayed=True)
    raise LoadError("The record of this Idempotency-Key cannot be had now.")


async def record(transaction: Transaction, key: RecordKey, answer: Changed) -> None:
    """Remember the answer under the key, which this transaction has claimed."""
    await transaction.fetch(
        _RECORD,
        key=key.id,
        status=answer.status,
        body=answer.body,
        user_id=answer.user_id,
        tag=answer.tag and UUID(bytes=answer.tag),
    )


class Pruner:
    """Deletes records that have expired, a bounded number at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

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
        total = 0
        for _ in range(PRUNE_BATCHES):
            deleted = len(await self._pool.fetch(_PRUNE, most=PRUNE_BATCH))
            total += deleted
            if deleted < PRUNE_BATCH:
                break
        return total
