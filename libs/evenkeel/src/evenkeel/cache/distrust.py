"""The reason for which nothing in the cache may answer, if it lies in the database."""

import logging

from evenkeel.cache.metrics import CacheMetrics

log = logging.getLogger(__name__)


class Distrust:
    """Set by the task that follows the change log. Each new reason is logged and counted once."""

    def __init__(self, metrics: CacheMetrics) -> None:
        self.reason: str | None = None
        self._metrics = metrics

    def set(self, reason: str | None) -> None:
        """Nothing may be trusted for this reason; None: there is no such reason any more."""
        if reason == self.reason:
            return
        self.reason = reason
        self._metrics.untrusted(reason)
        if reason is None:
            log.warning("the cache may be trusted again")
        else:
            log.error("nothing in the cache may be trusted", extra={"reason": reason})
