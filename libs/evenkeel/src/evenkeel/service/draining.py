"""Ending without dropping requests: after SIGTERM a replica is not ready, and still serves for a while.

It serves until the load balancer has noticed. If it closed its connections at once, it would drop requests that are on
their way. And a change that may have been received cannot be sent to another replica.
"""

import time


class Draining:
    """The state that /readyz and the server share; one for each application."""

    def __init__(self) -> None:
        self.begun = False
        self._ends = 0.0

    def begin(self, seconds: float) -> None:
        """Be not ready from now on, and finished after so many seconds."""
        self.begun = True
        self._ends = time.monotonic() + seconds

    @property
    def done(self) -> bool:
        return self.begun and time.monotonic() >= self._ends
