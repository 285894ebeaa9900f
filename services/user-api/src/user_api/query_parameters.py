"""Query parameters are taken as they are sent, or refused: none is ignored, and none overrides another one."""

from collections import Counter

from fastapi import Request
from fastapi.routing import APIRoute

from evenkeel.problems import InvalidInput

_LISTS = frozenset({"ids"})
"""Sent more than once, they are one list."""


_MOST_NAMED = 3


async def strict_query(request: Request) -> None:
    """InvalidInput for parameters that the route does not know, and for those that are sent twice.

    Of a route that knows some, the model itself refuses the others.
    """
    if not request.scope["query_string"]:
        return
    sent = Counter(name for name, _ in request.query_params.multi_items())
    route = request.scope["route"]
    if isinstance(route, APIRoute) and not route.dependant.query_params:
        wrong, detail = sorted(sent), "not a parameter"
    else:
        wrong, detail = sorted(name for name in sent if sent[name] > 1 and name not in _LISTS), "sent more than once"
    if wrong:
        raise InvalidInput(
            f"A query parameter is {detail}.",
            # Names may be anything, and thousands: the answer must not be larger than what was asked.
            errors=[{"in": "query", "field": ascii(name)[1:-1], "detail": detail} for name in wrong[:_MOST_NAMED]],
        )
