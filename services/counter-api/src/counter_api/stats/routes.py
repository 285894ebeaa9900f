"""The HTTP contract of stats."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response

from counter_api.parameters import NO_STORE, strict_query
from counter_api.stats.request_count import Tally
from evenkeel.http.preconditions import untagged
from evenkeel.http.problems import InvalidInput, PreconditionFailed, Unavailable, responses


class Stats(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"total_requests": 3, "replicas": {"a": 1, "b": 2}}]})

    total_requests: int
    replicas: dict[str, int]


async def tally_of(request: Request) -> Tally:
    tally: Tally = request.state.tally
    return tally


router = APIRouter(tags=["counters", "tutorial"], dependencies=[Depends(strict_query), Depends(untagged)])


@router.get(
    "/stats",
    summary="Requests answered by all replicas, this one included",
    description="A replica that has been gone for a day is not named any more. Its requests stay in the total. "
    "Requests for the fleet are not counted.",
    response_model=Stats,
    responses=responses(PreconditionFailed, InvalidInput, Unavailable),
)
async def read_stats(tally: Annotated[Tally, Depends(tally_of)]) -> Response:
    requests = await tally.requests()
    replicas = dict(sorted(requests.replicas.items()))
    return JSONResponse({"total_requests": requests.total, "replicas": replicas}, headers=NO_STORE)
