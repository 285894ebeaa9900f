"""What keeps the database from answering. Only these let a stale entry stand in; every other error is a fault."""


class LoadError(Exception):
    """The database has not done what it was asked to; loaders raise it for failures of the database, and of it alone.

    `begun` is False where nothing has been sent, so that nothing can have changed.
    """

    def __init__(self, reason: str, *, begun: bool = True) -> None:
        super().__init__(reason)
        self.begun = begun


class Busy(LoadError):
    """There was no room in this process; the database was not asked, and another process may have room."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, begun=False)


class Disconnected(LoadError):
    """There was no connection to the database, or it has ended. A breaker asks again, where that is safe."""


class NotAnswering(LoadError):
    """The database does not answer, and whoever waited for it has waited long enough."""
