"""The HTTP contract of the counters."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from counter_api.counters.operations import Outcome, is_replay
from counter_api.counters.parameters import If, OptionalIncrement, Service
from counter_api.counters.representation import response_of
from counter_api.counters.schemas import (
    BatchRequest,
    BatchResults,
    Counter,
    CounterPage,
    ListQuery,
    PutRequest,
    Series,
    SeriesQuery,
    Visits,
)
from counter_api.counters.series import rfc3339
from counter_api.parameters import NO_CACHE, NO_STORE, Name, strict_query
from counter_api.problems import CounterBound, CounterNotFound, CounterOverflow, NotACounter, StateMismatch
from evenkeel.http.bodies import StrictBody
from evenkeel.http.etags import etag
from evenkeel.http.heads import is_head
from evenkeel.http.idempotency import REPLAYED, IdempotencyMismatch, Key
from evenkeel.http.openapi import sends
from evenkeel.http.preconditions import untagged
from evenkeel.http.problems import (
    OF_A_BODY,
    InvalidInput,
    PreconditionFailed,
    Problem,
    Unavailable,
    responses,
)

MAX_BATCH_BODY = 512 * 1024
"""Bytes: 1,000 operations with names of any length. The gateway has the same limit."""


router = APIRouter(tags=["counters"], route_class=StrictBody, dependencies=[Depends(strict_query)])


@router.post(
    "/v1/counters/{name}/increment",
    summary="Add to a counter, and get the value that this call produced",
    response_model=Counter,
    responses=responses(
        CounterBound, CounterOverflow, NotACounter, StateMismatch, *OF_A_BODY, IdempotencyMismatch, Unavailable
    ),
)
async def increment_counter(
    counters: Service, name: Name, body: OptionalIncrement, preconditions: If, key: Key
) -> Response:
    applied = await counters.increment(name, body, preconditions, key)
    return response_of(name, applied.value, _replayed(applied))


@router.get(
    "/v1/counters/{name}",
    summary="Read a counter",
    response_model=Counter,
    responses={
        200: sends("ETag"),
        304: {"description": "still the state that If-None-Match names", **sends("ETag")},
        **responses(CounterNotFound, NotACounter, StateMismatch, InvalidInput, Unavailable),
    },
)
async def read_counter(counters: Service, name: Name, preconditions: If) -> Response:
    value = await counters.value(name)
    if not preconditions.matched(value):
        raise StateMismatch(preconditions, value)
    headers = {"ETag": etag(value), **NO_CACHE}
    if not preconditions.hold(value):
        return Response(status_code=304, headers=headers)
    return response_of(name, value, headers)


@router.get(
    "/v1/counters/{name}/series",
    summary="What was added to a counter minute by minute, hour by hour or day by day",
    description="It has the increments that name the series, and no other changes of the counter.",
    response_model=Series,
    responses=responses(InvalidInput, NotACounter, PreconditionFailed, Unavailable),
    dependencies=[Depends(untagged)],
)
async def read_series(counters: Service, name: Name, query: Annotated[SeriesQuery, Query()]) -> Response:
    buckets = await counters.series(name, query.unit, query.last)
    data = [{"start": rfc3339(bucket.start), "value": bucket.value} for bucket in buckets]
    return JSONResponse({"name": name, "unit": query.unit, "data": data}, headers=NO_STORE)


@router.put(
    "/v1/counters/{name}",
    summary="Set a counter; with If-Match, compare and set; with `If-None-Match: *`, only make it",
    response_model=Counter,
    responses={
        200: sends("ETag"),
        201: {"model": Counter, "description": "there was no such counter", **sends("ETag")},
        **responses(NotACounter, StateMismatch, *OF_A_BODY, IdempotencyMismatch, Unavailable),
    },
)
async def set_counter(counters: Service, name: Name, body: PutRequest, preconditions: If, key: Key) -> Response:
    applied = await counters.put(name, body.value, preconditions, key)
    headers = {"ETag": etag(applied.value), **_replayed(applied)}
    return response_of(name, applied.value, headers, status_code=201 if applied.created else 200)


@router.delete(
    "/v1/counters/{name}",
    summary="Delete a counter",
    status_code=204,
    responses=responses(CounterNotFound, NotACounter, StateMismatch, InvalidInput, IdempotencyMismatch, Unavailable),
)
async def delete_counter(counters: Service, name: Name, preconditions: If, key: Key) -> Response:
    applied = await counters.delete(name, preconditions, key)
    return Response(status_code=204, headers=_replayed(applied))


@router.get(
    "/v1/counters",
    summary="Counters sorted by name, page by page",
    description="`Link: rel=next` leads to the following page. The last page has none. A page may hold less than "
    "`limit` if many counters have just expired.",
    response_model=CounterPage,
    responses={200: sends("Link"), **responses(PreconditionFailed, InvalidInput, Unavailable)},
    dependencies=[Depends(untagged)],
)
async def list_counters(counters: Service, query: Annotated[ListQuery, Query()]) -> Response:
    page = await counters.page(prefix=query.prefix, after=query.after, limit=query.limit)
    headers = {**NO_CACHE}
    if page.next_after is not None:
        parameters = {"prefix": query.prefix, "limit": query.limit, "after": page.next_after}
        headers["Link"] = f'</v1/counters?{urlencode(parameters)}>; rel="next"'
    return JSONResponse({"data": [{"name": name, "value": value} for name, value in page.counters]}, headers=headers)


@router.post(
    "/v1/counters:batch",
    summary="Many increments in one round trip, each with its own result or problem",
    description="They are judged in order. If one is refused, the others are applied nevertheless.",
    response_model=BatchResults,
    max_body_size=MAX_BATCH_BODY,
    responses=responses(*OF_A_BODY, IdempotencyMismatch, Unavailable),
    dependencies=[Depends(untagged)],
)
async def increment_counters(counters: Service, body: BatchRequest, key: Key) -> Response:
    outcomes = await counters.batch(body.operations, key)
    results = [
        outcome.document() if isinstance(outcome, Problem) else {"name": operation.name, "value": outcome.value}
        for operation, outcome in zip(body.operations, outcomes, strict=True)
    ]
    return JSONResponse({"results": results}, headers=_replayed(*outcomes))


@router.get(
    "/counter",
    tags=["tutorial"],
    summary="Count this visit, and get how many there were",
    response_model=Visits,
    responses=responses(CounterOverflow, NotACounter, PreconditionFailed, InvalidInput, Unavailable),
    dependencies=[Depends(untagged)],
)
async def count_visit(request: Request, counters: Service) -> Response:
    count = await (counters.visits() if is_head(request) else counters.visit())
    return JSONResponse({"current_count": count}, headers=NO_STORE)


def _replayed(*outcomes: Outcome) -> dict[str, str]:
    return REPLAYED if any(map(is_replay, outcomes)) else {}
