"""What becomes of commands that Redis did not take, did not answer, or refused: a problem, or another attempt."""

import logging
from collections.abc import Sequence
from functools import partial
from itertools import islice

from prometheus_client import Counter
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from counter_api.problems import NothingApplied, OutcomeUnknown, Unreachable
from counter_api.redis.calls import Sending, code_of, sentence
from evenkeel.redis.topology import Topology

log = logging.getLogger(__name__)

NOT_HERE = (ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError)
"""What a server answers while another server takes over, or while a slot moves."""


MOST_REQUEST_IDS = 20
"""In one line of the log. A round trip may carry the operations of a thousand requests."""


class Failures:
    """Counts and logs failures. Methods that return sendings return those that must be sent again."""

    def __init__(self, topology: Topology, errors: Counter) -> None:
        """`errors` counts by its label `reason`."""
        self._topology = topology
        self._errors = errors

    async def not_sent(
        self, address: str, sendings: list[Sending], error: Exception, *, may_return: bool
    ) -> list[Sending]:
        """Those that must be sent again. `may_return`: the server may be back soon, so all are."""
        self._failed("not-sent", error, sendings)
        await self._topology.lost()
        again = []
        for sending in sendings:
            sending.trouble = sentence(error)
            if sending.asking:
                sending.asking, sending.at = False, None
            if may_return or sending.unsure or (sending.at is None and self._topology.address(sending.key) != address):
                again.append(sending)
            else:
                why = f"Redis cannot be reached, so nothing was changed: {sending.trouble}"
                sending.fail(partial(Unreachable, why))
        return again

    async def not_answered(self, sendings: list[Sending], error: Exception) -> list[Sending]:
        self._failed("no-answer", error, sendings)
        await self._topology.lost()
        for sending in sendings:
            sending.trouble, sending.unsure = sentence(error), True
            if sending.asking:
                sending.asking, sending.at = False, None
            if not sending.repeatable:
                give_up(sending)
        return [sending for sending in sendings if sending.repeatable]

    def not_replicated(self, sending: Sending) -> bool:
        """Whether that is its result. Too few replicas of Redis have it on disk."""
        self._errors.labels("not-replicated").inc()
        sending.trouble, sending.unsure = "Too few replicas have confirmed it.", True
        if sending.repeatable:
            return False
        give_up(sending)
        return True

    async def refused(self, sending: Sending, error: ResponseError, address: str) -> bool:
        """Whether this answer of the server at the address is its result. If not, it is sent again."""
        match error:
            case NoScriptError():
                # The scripts were flushed.
                sending.trouble = sentence(error)
                return False
            case MovedError() if self._topology.movable:
                await self._topology.redirected(error.slot_id, _address(error, address))
                return False
            case AskError() if self._topology.movable:
                sending.asking, sending.at = True, _address(error, address)
                return False
        self._failed(code_of(error), error, [sending])
        sending.trouble = sentence(error)
        if isinstance(error, NOT_HERE) and self._topology.movable:
            await self._topology.lost()
            return False
        if sending.unsure:  # an earlier copy may have been executed
            return False
        sending.refused(error)
        return True

    def _failed(self, reason: str, error: Exception, sendings: Sequence[Sending]) -> None:
        self._errors.labels(reason).inc(len(sendings))
        ids = dict.fromkeys(each.decode() for sending in sendings for each in sending.request_ids)
        named = list(islice(ids, MOST_REQUEST_IDS))
        extra = {"reason": reason, "error": str(error), "calls": len(sendings), "request_ids": named}
        log.warning("Redis failed", extra=extra)


def give_up(sending: Sending) -> None:
    """Set the problem that says whether it may have been executed."""
    if not sending.changes:
        sending.fail(partial(NothingApplied, f"Redis did not answer: {sending.trouble}"))
    elif sending.unsure:
        why = f"Redis did not answer, so whether this was applied is unknown: {sending.trouble}"
        what_now = "Retry with the same Idempotency-Key; a retry without one may count twice."
        sending.fail(partial(OutcomeUnknown, f"{why} {what_now}"))
    else:
        sending.fail(partial(NothingApplied, f"Redis did not take it, so nothing was changed: {sending.trouble}"))


def _address(error: AskError, asked: str) -> str:
    """Where a redirection leads. A node leaves its own host out until it learns the host from another node."""
    host = error.host or asked.rpartition(":")[0]
    return f"[{host}]:{error.port}" if ":" in host.strip("[]") and not host.startswith("[") else f"{host}:{error.port}"
