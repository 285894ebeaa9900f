"""Entries as Redis holds them: version, freshness and shape in the clear, the rest encrypted and bound to its name."""

import hashlib
import logging
import struct
import time

from evenkeel.cache.entry import TAG_SIZE, Entry, Hit
from evenkeel.cache.keyring import CannotOpen, KeyRing
from evenkeel.cache.metrics import CacheMetrics

log = logging.getLogger(__name__)

# Version of the row, the time until which the entry is fresh (milliseconds since 1970), and its shape; then the box,
# with the row's tag and what answers are built from. The scripts read the first two.
_HEADER = struct.Struct(">QQ4s")


class Sealing:
    """The name of the Redis key and the header are the box's associated data. A moved or edited entry does not open.

    An entry of another shape was made by code whose entries have other contents. It does not open either.
    """

    def __init__(self, keyring: KeyRing, metrics: CacheMetrics, shape: str = "") -> None:
        """`shape` is any text that describes the payloads of this code."""
        self._keyring = keyring
        self._metrics = metrics
        self._shape = hashlib.sha256(shape.encode()).digest()[:4]

    def seal(self, name: bytes, entry: Entry, fresh_for: float) -> bytes:
        """The value to store at `name`, fresh for so many seconds."""
        header = _HEADER.pack(entry.version, int((time.time() + fresh_for) * 1000), self._shape)
        return header + self._keyring.seal(entry.tag + entry.payload, name + header)

    def open(self, name: bytes, value: bytes, now: float) -> Hit | None:
        """The entry, at `now` (seconds since 1970). None, counted, if it has another shape or does not open."""
        try:
            version, fresh_until, shape = _HEADER.unpack_from(value)
            if shape != self._shape:
                self._metrics.unreadable("other shape")
                return None
            box = self._keyring.open(value[_HEADER.size :], name + value[: _HEADER.size])
        except (CannotOpen, struct.error) as error:
            reason = "malformed" if isinstance(error, struct.error) else str(error)
            self._metrics.unreadable(reason)
            log.warning("cache entry cannot be read", extra={"key": name.decode(), "reason": reason})
            return None
        return Hit(Entry(version, box[TAG_SIZE:], box[:TAG_SIZE]), fresh_until / 1000 - now)
