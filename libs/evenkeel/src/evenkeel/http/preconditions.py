"""The preconditions of RFC 9110 (section 13) by entity tag. Those by date are ignored, as no resource has a date."""

from dataclasses import dataclass

from fastapi import Request

from evenkeel.http.etags import Tags, parse_tags
from evenkeel.http.problems import InvalidInput, PreconditionFailed


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The preconditions of one request. They are evaluated in the same step as its change."""

    match: Tags | None = None
    """`If-Match`: only if the resource is in one of these states."""

    none_match: Tags | None = None
    """`If-None-Match`: only if it is in none of these."""

    @classmethod
    def parse(cls, if_match: str | None, if_none_match: str | None) -> "Preconditions":
        """Read the header fields; raise InvalidInput unless each is `*` or a list of entity tags."""
        return cls(parse_tags(if_match, "If-Match", weak=False), parse_tags(if_none_match, "If-None-Match", weak=True))

    def __bool__(self) -> bool:
        return self.match is not None or self.none_match is not None

    def hold(self, state: str | int | None) -> bool:
        """Whether the request may change or read a resource in this state. None means that it does not exist."""
        return self.matched(state) and not (self.none_match is not None and self.none_match.cover(state))

    def matched(self, state: str | int | None) -> bool:
        """Whether `If-Match` holds. On a read, `If-None-Match` leads to 304, which is not a failure."""
        return self.match is None or self.match.cover(state)

    def __str__(self) -> str:
        """A text that is equal for equal preconditions, whatever their spelling."""
        return f"{self.match or ''};{self.none_match or ''}"


async def untagged(request: Request) -> None:
    """A dependency of routes whose resource has no entity tags. A write with a precondition is refused.

    On a read, `If-Match` fails unless it is `*`, because there is no tag to match. `If-None-Match` has no effect.
    """
    if request.method not in {"GET", "HEAD"}:
        sent = [name for name in ("If-Match", "If-None-Match") if name in request.headers]
        if sent:
            raise InvalidInput(
                "This resource has no entity tags, so no precondition on them can be judged.",
                errors=[{"in": "header", "field": name, "detail": "not taken here"} for name in sent],
            )
        return
    read = Preconditions.parse(request.headers.get("if-match"), request.headers.get("if-none-match"))
    if read.match is not None and not read.match.every:
        raise PreconditionFailed("This resource has no entity tags, so it has none of those in If-Match.")
