"""Entries as Redis holds them: version and freshness in the clear, the rest encrypted and bound to its key."""

import logging
import struct
import time

from evenkeel.cache.entry import Entry, Hit
from evenkeel.cache.keyring import CannotOpen, KeyRing
from evenkeel.cache.metrics import CacheMetrics

log = logging.getLogger(__name__)

# Version of the row, then the time until which the entry is fresh (milliseconds since 1970), then the box. The
# scripts read both.
_HEADER = struct.Struct(">QQ")


class Sealing:
    """The name of the Redis key and the header are the box's associated data: moved or edited, it does not open."""

    def __init__(self, keyring: KeyRing, metrics: CacheMetrics) -> None:
        self._keyring = keyring
        self._metrics = metrics

    def seal(self, name: bytes, entry: Entry, fresh_for: float) -> bytes:
        """The value to store at `name`, fresh for so many seconds."""
        header = _HEADER.pack(entry.version, int((time.time() + fresh_for) * 1000))
        return header + self._keyring.seal(entry.payload, name + header)

    def open(self, name: bytes, value: bytes, now: float) -> Hit | None:
        """What `seal` made, at `now` (seconds since 1970); None, counted and logged, if it cannot be opened."""
        try:
            version, fresh_until = _HEADER.unpack_from(value)
            payload = self._keyring.open(value[_HEADER.size :], name + value[: _HEADER.size])
        except (CannotOpen, struct.error) as error:
            reason = "malformed" if isinstance(error, struct.error) else str(error)
            self._metrics.unreadable(reason)
            log.warning("cache entry cannot be read", extra={"key": name.decode(), "reason": reason})
            return None
        return Hit(Entry(version, payload), fresh_until / 1000 - now)
