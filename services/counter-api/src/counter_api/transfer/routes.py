"""The HTTP contract of export and import."""

import sys
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse

from counter_api.parameters import NO_STORE, Prefix, strict_query
from counter_api.problems import NotACounter
from counter_api.transfer.entries import LONGEST_LINE, Entry, render
from counter_api.transfer.service import TransferService
from evenkeel.http.bodies import StrictBody
from evenkeel.http.gateway_problems import TooManyStreams
from evenkeel.http.idempotency import REPLAYED, IdempotencyMismatch, Key
from evenkeel.http.preconditions import untagged
from evenkeel.http.problems import (
    InvalidInput,
    MalformedJson,
    PreconditionFailed,
    Unavailable,
    UnsupportedMediaType,
    responses,
)

NDJSON = "application/x-ndjson"
EXAMPLE = '{"name":"downloads","value":42}\n{"name":"session:1","value":1,"ttl":60}\n'
# `binary` makes generated clients stream the bytes, which may be more than fits into memory.
_CONTENT = {NDJSON: {"schema": {"type": "string", "format": "binary"}, "example": EXAMPLE}}


class ExportQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prefix: Prefix = ""


class ImportResult(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"imported": 2}]})

    imported: int


class Lines(StreamingResponse):
    media_type = NDJSON


async def transfer_of(request: Request) -> TransferService:
    transfer: TransferService = request.state.transfer
    return transfer


Service = Annotated[TransferService, Depends(transfer_of)]

router = APIRouter(tags=["counters"], route_class=StrictBody, dependencies=[Depends(strict_query), Depends(untagged)])


@router.get(
    "/v1/counters:export",
    summary="All counters, a line of JSON each",
    description="""In the order of their names. A counter that exists during the whole export is in it once, with
a value that it had at some moment of the export. `ttl` is what is left of a time to live, in seconds. If an export
fails on the way, its body has no end (the last chunk is missing, or HTTP/2 resets the stream), which every client
reports.""",
    response_class=Lines,
    responses={
        200: {"description": "the counters", "content": _CONTENT},
        **responses(PreconditionFailed, InvalidInput, Unavailable, TooManyStreams),
    },
)
async def export_counters(transfer: Service, query: Annotated[ExportQuery, Query()]) -> Response:
    batches = transfer.export(query.prefix)
    # Before the answer begins, so that the answer is 503 if Redis is away.
    first: list[Entry] = await anext(batches, [])
    return Lines(_rendered(first, batches), headers=NO_STORE)


async def _rendered(first: list[Entry], others: AsyncIterator[list[Entry]]) -> AsyncIterator[bytes]:
    yield "".join(map(render, first)).encode()
    async for batch in others:
        yield "".join(map(render, batch)).encode()


@router.post(
    "/v1/counters:import",
    summary="Set counters from lines of JSON, as export gives them",
    description=f"""Any number of lines, of at most {LONGEST_LINE} bytes each. Blank lines are skipped. A counter that
exists is overwritten together with its time to live. If several lines name one counter, the last one counts.

The body is applied while it arrives. If a line is wrong, `line` of the problem is its number, and `applied` is how many
counters were set before it. With an Idempotency-Key a retry goes on after what was set before, and counts made between
the attempts are kept. If everything was set before, the answer has `Idempotency-Replayed: true`. Lines that were set
before must be the same in the retry (else 422). Later lines may differ.""",
    response_model=ImportResult,
    responses=responses(
        NotACounter,
        InvalidInput,
        MalformedJson,
        UnsupportedMediaType,
        IdempotencyMismatch,
        Unavailable,
        TooManyStreams,
    ),
    openapi_extra={"requestBody": {"required": False, "content": _CONTENT}},
    max_body_size=sys.maxsize,  # it never is in memory as a whole
)
async def import_counters(request: Request, transfer: Service, key: Key) -> Response:
    try:
        imported = await transfer.import_lines(request.stream(), key)
    except ClientDisconnect:
        return Response(status_code=400)  # the client is gone
    return JSONResponse({"imported": imported.count}, headers=REPLAYED if imported.replayed else {})
