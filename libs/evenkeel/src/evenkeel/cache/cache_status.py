"""The Cache-Status response header of RFC 9211: what each tier did with the request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True)
class TierStatus:
    """One member of the header. `ttl` is in seconds; only a hit has it, and below zero the hit is stale.

    `stale` is an own parameter: it marks an answer that was given because the database did not answer.
    """

    tier: str
    ttl: float | None = None
    forwarded: Literal["request", "uri-miss", "stale", "bypass"] | None = None
    stored: bool = False
    collapsed: bool = False
    stale: bool = False
    detail: str | None = None

    def hit(self, ttl: float, *, stale: bool = False) -> None:
        """Turn the status into a hit."""
        self.ttl, self.forwarded, self.stale = ttl, None, stale

    def __str__(self) -> str:
        member = self.tier
        if self.forwarded is None:
            member += "; hit"
        else:
            member += f"; fwd={self.forwarded}"
        if self.ttl is not None:
            member += f"; ttl={int(self.ttl)}"
        if self.stored:
            member += "; stored"
        if self.collapsed:
            member += "; collapsed"
        if self.stale:
            member += "; stale"
        if self.detail is not None:
            member += f"; detail={self.detail}"
        return member


def render(statuses: Sequence[TierStatus]) -> str:
    """The header's value. `statuses` are in the order of reading; RFC 9211 lists the tier nearest the origin first."""
    return ", ".join([str(status) for status in reversed(statuses)])
