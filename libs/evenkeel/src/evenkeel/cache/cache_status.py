"""The Cache-Status response header of RFC 9211: what each tier did with the request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(slots=True)
class TierStatus:
    """One member of the header; `ttl` in seconds, only with a hit, and below zero for a stale one.

    `stale` is a parameter of our own: it marks an answer that was given because the database did not answer.
    """

    tier: str
    ttl: float | None = None
    forwarded: Literal["request", "uri-miss", "stale", "bypass"] | None = None
    stored: bool = False
    collapsed: bool = False
    stale: bool = False
    detail: str | None = None

    def hit(self, ttl: float, *, stale: bool = False) -> None:
        """Turn the status into a hit, whatever it was before."""
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
    """The header's value for tiers in the order they were asked; RFC 9211 lists the one nearest the origin first."""
    return ", ".join([str(status) for status in reversed(statuses)])
