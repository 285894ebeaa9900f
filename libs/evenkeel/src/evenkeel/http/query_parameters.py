"""Query parameters are used or refused. None is ignored, and none overrides another one."""

from collections import Counter
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute

from evenkeel.http.problems import InvalidInput

_MOST_NAMED = 3


class StrictQuery:
    """A dependency that raises InvalidInput for parameters that the route does not have, or that are sent twice.

    A route with parameters has them in a model, and the model refuses others (`extra="forbid"`).
    """

    def __init__(self, *, lists: frozenset[str] = frozenset()) -> None:
        """`lists` are the parameters that may be sent more than once, and then form one list."""
        self._lists = lists

    async def __call__(self, request: Request) -> None:
        if not request.scope["query_string"]:
            return
        sent = Counter(name for name, _ in request.query_params.multi_items())
        route = request.scope["route"]
        if isinstance(route, APIRoute) and not route.dependant.query_params:
            _refuse(sorted(sent), "This address takes no query parameters.", "not a parameter")
        else:
            repeated = sorted(name for name in sent if sent[name] > 1 and name not in self._lists)
            _refuse(repeated, "Send each query parameter once.", "sent more than once")


def _refuse(names: list[str], sentence: str, detail: str) -> None:
    if names:
        # There may be thousands of names: the answer must not be larger than the request.
        errors = [{"in": "query", "field": ascii(name)[1:-1], "detail": detail} for name in names[:_MOST_NAMED]]
        raise InvalidInput(sentence, errors=errors)


def plain_decimal(value: Any) -> Any:
    """For a `BeforeValidator`: digits only. int() also takes `+1`, `1_0`, spaces and digits of other scripts."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("must be a whole number")
    return value
