"""What a cache's keys are called in Redis."""


class Names:
    """All keys of one cache; two caches in one database need two namespaces."""

    def __init__(self, namespace: str) -> None:
        """ValueError unless the namespace is letters, digits and `_`."""
        if not namespace.replace("_", "").isalnum() or not namespace.isascii() or namespace == "cache":
            raise ValueError(f"a namespace is made of letters, digits and _, and is not cache: {namespace!r}")
        self.namespace = namespace
        self._entry = f"{namespace}:"
        self._lease = f"{namespace}-lease:"
        self._signal = f"{namespace}-changed:"
        self.signals = self._signal.encode()
        """How all signals begin."""
        self.alive = f"cache:{namespace}:alive".encode()
        self.owner = f"cache:{namespace}:relay".encode()
        self.relayed = b"cache:relayed"

    def entry(self, key: str) -> bytes:
        return (self._entry + key).encode()

    def lease(self, key: str) -> bytes:
        return (self._lease + key).encode()

    def signal(self, key: str, version: int | None = None) -> bytes:
        """What is touched to say that the key has this version now, or any other (None)."""
        return f"{self._signal}{key}:{'' if version is None else version}".encode()

    def signalled(self, name: bytes) -> tuple[str, int | None]:
        """The key and the version of a signal."""
        key, _, version = name[len(self.signals) :].decode().rpartition(":")
        return key, int(version) if version else None
