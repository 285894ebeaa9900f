"""Leaving without dropping anything: a replica that is told to end says first that it is no longer ready.

It goes on serving until whoever balances the load has noticed. A server that closes its connections at once meets
requests that are on their way to it, and a change that was perhaps received cannot be sent to another replica.
"""

import time


class Draining:
    """What /readyz and the server share; one for each application."""

    def __init__(self) -> None:
        self.begun = False
        self._ends = 0.0

    def begin(self, seconds: float) -> None:
        """Be not ready from now on, and done in so many seconds."""
        self.begun = True
        self._ends = time.monotonic() + seconds

    @property
    def done(self) -> bool:
        return self.begun and time.monotonic() >= self._ends
