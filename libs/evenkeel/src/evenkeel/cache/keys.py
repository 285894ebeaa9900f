"""The names of a cache's keys in Redis, and those that this process uses now.

Every name contains the identity of the PostgreSQL database, so caches of two databases never meet. Names of entries and
leases also contain the epoch. A new epoch forgets everything.

An epoch is `<base>`, or `<base>;<ranges>` if ranges of keys have been forgotten since the base began. The names of keys
in a range contain the base and the range's token. All other names contain the base alone, and do not change. The
scripts only compare whole epochs.
"""

import asyncio
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping

from evenkeel.cache.ranges import TOKEN_LENGTH, KeyRanges

BASE_LENGTH = 16

LONGEST_SIGNAL = 64 * 1024
"""Bytes of a signal's name, beside what all names begin with. More keys, or longer ones, take several signals."""

_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_VERSION_TYPES = {int, type(None)}

_BOUND_TO_EPOCH = re.compile(
    rb"[0-9a-f]{%d}(?:\.[0-9a-f]{%d})?:(?P<kind>entry|lease|alias):(?P<key>.*)" % (BASE_LENGTH, TOKEN_LENGTH), re.DOTALL
)


def new_epoch() -> str:
    """A random one. If Redis loses an epoch in a crash or a failover, the same epoch never comes again."""
    return secrets.token_hex(BASE_LENGTH // 2)


def check_namespace(namespace: str) -> str:
    """The namespace; ValueError unless it is letters, digits and `_`."""
    if not namespace.replace("_", "").isalnum() or not namespace.isascii():
        raise ValueError(f"a namespace is made of letters, digits and _: {namespace!r}")
    return namespace


class Names:
    """All names of one cache at one epoch. The hash tag is the namespace, so they share a slot of a Redis Cluster."""

    __slots__ = (
        "_alias",
        "_entry",
        "_lease",
        "_root",
        "alive",
        "alive_value",
        "base",
        "epoch",
        "everything",
        "fleet",
        "identity",
        "namespace",
        "pattern",
        "ranges",
        "signals",
        "state",
    )

    def __init__(self, namespace: str, identity: str, epoch: str = "") -> None:
        """`epoch` is empty while it is not known yet. No entry has such a name."""
        self.namespace = check_namespace(namespace)
        self.identity = identity
        self.epoch = epoch
        self.alive_value = epoch.encode()
        """What `alive` holds."""
        self.base, self.ranges = _parsed(epoch)
        root = f"evenkeel:{{{namespace}}}:{identity}:"
        self._alias = f"{root}{self.base}:alias:"
        self._entry = f"{root}{self.base}:entry:"
        self._lease = f"{root}{self.base}:lease:"
        self._root = root.encode()
        self.pattern = f"{root}*".encode()
        """What SCAN finds all names by."""
        self.alive = f"{root}alive".encode()
        self.state = f"{root}state".encode()
        self.fleet = f"{root}fleet"
        """The index of heartbeats, and how their names begin."""
        self.signals = f"{root}changed:".encode()
        """How all signals begin."""
        self.everything = self.signals
        """The signal that anything may have changed."""

    def at(self, epoch: str) -> "Names":
        return Names(self.namespace, self.identity, epoch)

    def epoch_without(self, ranges: Iterable[tuple[int, int]]) -> str:
        """An epoch that forgets the keys in these ranges (low, high), and few or none of the others."""
        return f"{self.base};{self.ranges.adding(ranges)}" if self.base else new_epoch()

    def renames(self, other: "Names") -> Callable[[str], bool]:
        """A function that says whether a key's entry has another name here than in `other`, of the same database."""
        if self.base != other.base:
            return lambda _: True
        here, there = self.ranges.token, other.ranges.token
        return lambda key: here(key) != there(key)

    def entry(self, key: str) -> bytes:
        if self.ranges and (token := self.ranges.token(key)):
            return self._root + f"{self.base}.{token}:entry:{key}".encode()
        return (self._entry + key).encode()

    def alias(self, digest: str) -> bytes:
        return (self._alias + digest).encode()

    def lease(self, key: str) -> bytes:
        if self.ranges and (token := self.ranges.token(key)):
            return self._root + f"{self.base}.{token}:lease:{key}".encode()
        return (self._lease + key).encode()

    def signals_of(self, changes: Mapping[str, int | None]) -> list[bytes]:
        """The names that a script touches when the keys have these versions now; None: any version, or none.

        It is one name unless that were too long. A name costs Redis and each process more than a key in it.
        """
        if not changes:
            return []
        text = _as_json(changes).encode()
        if len(text) > LONGEST_SIGNAL and len(changes) > 1:
            items = list(changes.items())
            half = len(items) // 2
            return [name for part in (items[:half], items[half:]) for name in self.signals_of(dict(part))]
        return [self.signals + text]

    def signalled(self, name: bytes) -> dict[str, int | None] | None:
        """The keys and the versions of a signal; None: anything may have changed.

        A signal that cannot be read, perhaps of another release, has that meaning as well.
        """
        try:
            changes = json.loads(name[len(self.signals) :])
        except ValueError:
            return None
        if isinstance(changes, dict) and {type(version) for version in changes.values()} <= _VERSION_TYPES:
            return changes
        return None

    def is_over(self, name: bytes) -> bool:
        """Whether this is an entry, a lease or an alias under a name that is not used any more.

        All other names are still needed, or belong to others.
        """
        if not name.startswith(self._root):
            return False
        match = _BOUND_TO_EPOCH.fullmatch(name, len(self._root))
        if match is None:
            return False
        key = match["key"].decode(errors="replace")
        now = {b"entry": self.entry, b"lease": self.lease, b"alias": self.alias}[match["kind"]]
        return name != now(key)


def text_of(epoch: bytes) -> str:
    """Bytes that are no text become an epoch that no server has, so nothing is trusted under it."""
    return epoch.decode(errors="replace")


def _parsed(epoch: str) -> tuple[str, KeyRanges]:
    """Base and ranges. Text of another form is a base without ranges, under which nothing is found."""
    base, _, ranges = epoch.partition(";")
    try:
        return base, KeyRanges.parse(ranges)
    except ValueError:
        return epoch, KeyRanges()


class CurrentNames:
    """The names that this process uses. There are none until the database's identity is known.

    When identity or epoch change, the `on_change` callbacks run with the old and the new names. What was read under
    the old names must not be used any more.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = check_namespace(namespace)
        self.now: Names | None = None
        self.on_change: list[Callable[[Names | None, Names | None], None]] = []
        self._changed = asyncio.Event()

    def identified(self, identity: str | None) -> None:
        """Use the names of the database with this identity; None: its identity is not known."""
        if identity == (self.now and self.now.identity):
            return
        self._become(Names(self.namespace, identity) if identity is not None else None)

    def adopt(self, epoch: bytes, instead_of: Names) -> None:
        """Use this epoch, which the primary gave in a reply to a caller that used the names `instead_of`.

        Nothing happens if those names are not in use any more: a late reply must not bring an old epoch back.
        """
        if self.now is instead_of and epoch != instead_of.alive_value:
            self._become(instead_of.at(text_of(epoch)))

    async def known(self) -> Names:
        """The names, as soon as there are any."""
        while self.now is None:
            await self._changed.wait()
        return self.now

    async def until_other_identity(self, identity: str) -> None:
        """Return when the names are those of another database."""
        while self.now is not None and self.now.identity == identity:
            await self._changed.wait()

    def _become(self, names: Names | None) -> None:
        before, self.now = self.now, names
        for callback in self.on_change:
            callback(before, names)
        self._changed.set()
        self._changed = asyncio.Event()
