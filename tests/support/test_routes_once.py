"""Applications share the routes that they would build alike, and no others."""

from typing import Any

from fastapi import APIRouter, FastAPI

router = APIRouter()


@router.get("/things")
async def things() -> str:
    return "things"


def _built(router: APIRouter, **options: Any) -> Any:
    """What a new application makes of the only route of the router."""
    app = FastAPI()
    app.include_router(router, **options)
    (route,) = [context for included in app.routes[-1:] for context in included.effective_route_contexts()]  # type: ignore[attr-defined]
    return route


def test_routes_that_are_alike_are_built_once() -> None:
    assert _built(router) is _built(router)


def test_what_is_included_in_another_way_is_another_route() -> None:
    plain, below, guarded = _built(router), _built(router, prefix="/v1"), _built(router, responses={418: {}})
    assert (plain.path_format, below.path_format) == ("/things", "/v1/things")
    assert (plain.responses, guarded.responses) == ({}, {418: {}})
    assert _built(router, prefix="/v1") is below
