"""Failures of the database. Only these let a stale entry stand in. Every other error is a fault."""


class LoadError(Exception):
    """The database has not done its work. Loaders raise it for failures of the database alone.

    `begun` is False if nothing was sent, so nothing can have changed.
    """

    def __init__(self, reason: str, *, begun: bool = True) -> None:
        super().__init__(reason)
        self.begun = begun


class Busy(LoadError):
    """This process has no room for more work. The database was not asked, and another process may have room."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, begun=False)


class Disconnected(LoadError):
    """There was no connection to the database, or it has ended. A breaker repeats the work where that is safe."""


class NotAnswering(LoadError):
    """The database does not answer, and the caller's time is up."""
