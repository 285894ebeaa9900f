"""The targets of requests."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from verify.connection import Credentials, Pool

REQUEST_TIMEOUT = 10.0
"""Seconds. Longer than any fault lasts, so that the late answers of a frozen replica are judged, too."""


@dataclass(frozen=True, eq=False)
class Target:
    """The gateway or one replica."""

    name: str
    url: str
    pool: Pool

    @classmethod
    def at(cls, name: str, url: str, credentials: Credentials = dict) -> "Target":
        return cls(name, url, Pool(url, timeout=REQUEST_TIMEOUT, credentials=credentials))


class Targets(Protocol):
    """The targets of one service."""

    @property
    def targets(self) -> list[Target]: ...
    def any(self) -> Target: ...
    def named(self, name: str) -> Target | None:
        """The replica of this name, if it has an address of its own."""


class FixedTargets:
    """Targets that never change."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets

    @property
    def targets(self) -> list[Target]:
        return list(self._targets)

    def any(self) -> Target:
        return random.choice(self._targets)

    def named(self, name: str) -> Target | None:
        return next((target for target in self._targets if target.name == name), None)
