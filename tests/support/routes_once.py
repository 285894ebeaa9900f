"""FastAPI builds every route again for each application that includes its router, at the first request.

It takes 20 ms for user-api and 40 ms for counter-api. Nearly every test of a service starts an application, and all
applications of a service include the same router in the same way. So in tests each route is built once.
"""

import dataclasses
from typing import Any

from fastapi import routing

Build = Any
"""FastAPI's own function, which has no public type."""


def build_routes_once() -> None:
    """From now on, an application gets the routes that an earlier one has built from the same route and context."""
    context = routing._EffectiveRouteContext
    context.from_api_route = _once(context.from_api_route)  # type: ignore[method-assign]


def _once(build: Build) -> Build:
    # Routes cannot be keys. Their ids can, because what has been built refers to its route, which therefore stays.
    built: dict[int, list[tuple[Any, Any]]] = {}

    def from_api_route(*, original_route: Any, include_context: Any) -> Any:
        # What was built first also overrides dependencies as the first application does. No test overrides any.
        key = dataclasses.replace(include_context, dependency_overrides_provider=None)
        before = built.setdefault(id(original_route), [])
        for context, route in before:
            if context == key:
                return route
        route = build(original_route=original_route, include_context=include_context)
        before.append((key, route))
        return route

    return from_api_route
