"""The HTTP contract of uniques."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from counter_api.parameters import NO_CACHE, Name, strict_query
from counter_api.uniques.problems import NotUniques, UniquesNotFound, UniquesOff
from counter_api.uniques.schemas import AddMember, UniqueCount
from counter_api.uniques.service import UniquesService
from counter_api.uniques.store import Estimate
from evenkeel.http.bodies import StrictBody
from evenkeel.http.idempotency import REPLAYED, IdempotencyMismatch, Key
from evenkeel.http.preconditions import untagged
from evenkeel.http.problems import (
    OF_A_BODY,
    InvalidInput,
    PreconditionFailed,
    Unavailable,
    responses,
)


async def uniques_of(request: Request) -> UniquesService:
    uniques: UniquesService = request.state.uniques
    return uniques


Service = Annotated[UniquesService, Depends(uniques_of)]

router = APIRouter(tags=["uniques"], route_class=StrictBody, dependencies=[Depends(strict_query), Depends(untagged)])


@router.post(
    "/v1/uniques/{name}",
    summary="Count a member, if it was not counted before",
    description="Safe to send again: a member counts once, however often it is added. A counter of the same name is "
    "something else.",
    response_model=UniqueCount,
    responses=responses(NotUniques, *OF_A_BODY, IdempotencyMismatch, UniquesOff, Unavailable),
)
async def add_member(uniques: Service, name: Name, body: AddMember, key: Key) -> Response:
    return _answer(name, await uniques.add(name, body.member, key))


@router.get(
    "/v1/uniques/{name}",
    summary="How many different members there were",
    response_model=UniqueCount,
    responses=responses(UniquesNotFound, NotUniques, PreconditionFailed, InvalidInput, UniquesOff, Unavailable),
)
async def count_members(uniques: Service, name: Name) -> Response:
    return _answer(name, await uniques.count(name))


@router.delete(
    "/v1/uniques/{name}",
    summary="Forget all members",
    status_code=204,
    responses=responses(UniquesNotFound, NotUniques, InvalidInput, IdempotencyMismatch, UniquesOff, Unavailable),
)
async def delete_members(uniques: Service, name: Name, key: Key) -> Response:
    return Response(status_code=204, headers=REPLAYED if await uniques.delete(name, key) else {})


def _answer(name: str, estimate: Estimate) -> Response:
    document = {"name": name, "value": estimate.value, "approximate": estimate.error > 0, "error": estimate.error}
    return JSONResponse(document, headers=NO_CACHE | (REPLAYED if estimate.replayed else {}))
