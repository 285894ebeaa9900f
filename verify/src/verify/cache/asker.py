"""What every prober of a cache does: it sends requests, and counts those without an answer."""

import re
import time

from verify.cache.tally import CacheTally
from verify.clock import Clock
from verify.connection import NO_ANSWER, Reply
from verify.target import Target

# The parameter that marks a stale answer. It is not `fwd=stale`, which means that the tier did not answer.
_MARKED = re.compile(r";\s*stale\s*(?:[;,]|$)")


def is_marked_stale(cache_status: str) -> bool:
    """Whether the answer says itself that it may be stale."""
    return _MARKED.search(cache_status) is not None


class Asker:
    """No method raises because of an answer."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock

    async def _ask(
        self,
        target: Target,
        tally: CacheTally,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply | None:
        asked = self._clock()
        try:
            reply = await target.pool.request(method, path, headers, body)
        except NO_ANSWER as error:
            tally.errors[f"{'read' if method == 'GET' else method} {type(error).__name__}"] += 1
            return None
        if method == "GET":
            reference = bool(headers and "cache-control" in headers)
            tally.read_took(self._clock() - asked, f"{path} from {target.name}", reference=reference)
        return reply
