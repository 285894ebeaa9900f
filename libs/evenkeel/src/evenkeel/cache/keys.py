"""What a cache's keys are called in Redis, and which of the names this process uses now.

Every name holds the identity of the database in PostgreSQL, so caches of two databases never meet. Names of entries
and leases also hold the epoch: to forget everything is to begin another one.
"""

import asyncio
import secrets
from collections.abc import Callable

EPOCH_LENGTH = 16


def new_epoch() -> str:
    """Random: an epoch that a crash or a failover of Redis took back never comes again."""
    return secrets.token_hex(EPOCH_LENGTH // 2)


def check_namespace(namespace: str) -> str:
    """The namespace; ValueError unless it is letters, digits and `_`."""
    if not namespace.replace("_", "").isalnum() or not namespace.isascii():
        raise ValueError(f"a namespace is made of letters, digits and _: {namespace!r}")
    return namespace


class Names:
    """All names of one cache at one epoch. The hash tag is the namespace, so they share a slot of a Redis Cluster."""

    __slots__ = (
        "_entry",
        "_lease",
        "_root",
        "alive",
        "alive_value",
        "epoch",
        "everything",
        "identity",
        "namespace",
        "owner",
        "pattern",
        "signals",
        "state",
    )

    def __init__(self, namespace: str, identity: str, epoch: str = "") -> None:
        """An empty `epoch` is one that is not known yet: no entry has such a name."""
        self.namespace = check_namespace(namespace)
        self.identity = identity
        self.epoch = epoch
        self.alive_value = epoch.encode()
        """What `alive` holds."""
        root = f"evenkeel:{{{namespace}}}:{identity}:"
        self._entry = f"{root}{epoch}:entry:"
        self._lease = f"{root}{epoch}:lease:"
        self._root = root.encode()
        self.pattern = f"{root}*".encode()
        """What SCAN finds all names by."""
        self.alive = f"{root}alive".encode()
        self.owner = f"{root}relay".encode()
        self.state = f"{root}state".encode()
        self.signals = f"{root}changed:".encode()
        """How all signals begin."""
        self.everything = self.signal("")
        """The signal that anything may have changed."""

    def at(self, epoch: str) -> "Names":
        return Names(self.namespace, self.identity, epoch)

    def entry(self, key: str) -> bytes:
        return (self._entry + key).encode()

    def lease(self, key: str) -> bytes:
        return (self._lease + key).encode()

    def signal(self, key: str, version: int | None = None) -> bytes:
        """What is touched to say that the key has this version now, or any other (None)."""
        return self.signals + f"{key}:{'' if version is None else version}".encode()

    def signalled(self, name: bytes) -> tuple[str, int | None]:
        """The key and the version of a signal."""
        key, _, version = name[len(self.signals) :].decode().rpartition(":")
        return key, int(version) if version else None

    def is_over(self, name: bytes) -> bool:
        """Whether this is an entry or a lease of another epoch; all other names are needed, or belong to others."""
        if not name.startswith(self._root):
            return False
        epoch, _, rest = name[len(self._root) :].partition(b":")
        return len(epoch) == EPOCH_LENGTH and epoch != self.alive_value and rest.startswith((b"entry:", b"lease:"))


class CurrentNames:
    """The names that this process uses: none until the database's identity is known.

    `on_change` callbacks run whenever identity or epoch become others: what was read under the old names is over.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = check_namespace(namespace)
        self.now: Names | None = None
        self.on_change: list[Callable[[], None]] = []
        self._changed = asyncio.Event()

    def identified(self, identity: str | None) -> None:
        """The database has this identity, or one that is not known (None)."""
        if identity == (self.now and self.now.identity):
            return
        self._become(Names(self.namespace, identity) if identity is not None else None)

    def adopt(self, epoch: str, instead_of: Names) -> None:
        """The primary has said this epoch to somebody who used the names `instead_of`.

        Nothing happens if those are not in use any more: an answer that comes late must not bring an old epoch back.
        """
        if self.now is instead_of and epoch != instead_of.epoch:
            self._become(instead_of.at(epoch))

    async def known(self) -> Names:
        """The names, as soon as there are any."""
        while self.now is None:
            await self._changed.wait()
        return self.now

    async def until_other_identity(self, identity: str) -> None:
        """Return when the names are not those of this database any more."""
        while self.now is not None and self.now.identity == identity:
            await self._changed.wait()

    def _become(self, names: Names | None) -> None:
        self.now = names
        for callback in self.on_change:
            callback()
        self._changed.set()
        self._changed = asyncio.Event()
