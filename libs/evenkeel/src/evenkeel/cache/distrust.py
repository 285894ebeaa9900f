"""Why nothing in the cache may be trusted now, where the database itself is the reason."""

import logging

from evenkeel.cache.metrics import CacheMetrics

log = logging.getLogger(__name__)


class Distrust:
    """Kept by whoever follows the change log; logged and counted once for each change of reason."""

    def __init__(self, metrics: CacheMetrics) -> None:
        self.reason: str | None = None
        self._metrics = metrics

    def set(self, reason: str | None) -> None:
        """Nothing may be trusted for this reason; None: everything may that is up to date."""
        if reason == self.reason:
            return
        self.reason = reason
        self._metrics.untrusted(reason)
        if reason is None:
            log.warning("the cache may be trusted again")
        else:
            log.error("nothing in the cache may be trusted", extra={"reason": reason})
