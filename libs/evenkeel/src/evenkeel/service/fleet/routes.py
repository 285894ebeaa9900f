"""The fleet of a service over HTTP: once, or every second."""

import asyncio
import contextlib

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Send

from evenkeel.http.event_streams import EventStream, retry
from evenkeel.http.gateway_problems import TooManyStreams
from evenkeel.http.preconditions import untagged
from evenkeel.http.problems import InvalidInput, PreconditionFailed, Unavailable, responses
from evenkeel.http.query_parameters import StrictQuery
from evenkeel.service.fleet.fleet import Fleet

PREFIX = "/v1/fleet"

TAG = "fleet"

DESCRIPTION = {TAG: "Which replicas run, and what each is doing"}
"""Of the tag, for OpenAPI documents."""

_EXAMPLE = 'event: fleet\ndata: {"service":"user-api","replicas":[…]}\n\n'


class FleetEvents(EventStream):
    """Sends the fleet every second, until the client leaves, the time is over, or the replica ends."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet

    async def stream_response(self, send: Send) -> None:
        with self._fleet.viewing():
            view = await self._fleet.view()
            await self.begin(send)
            await self.write(send, retry())
            while not self._fleet.closing and self.left > 0:
                changed = self._fleet.changed
                await self.write(send, b"event: fleet\ndata: %b\n\n" % view)
                # Views stop coming if none can be made. The stream ends in time all the same.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.left):
                        await changed.wait()
                view = self._fleet.latest
            await self.finish(send)


async def fleet_of(request: Request) -> Fleet:
    fleet: Fleet = request.state.fleet
    return fleet


def routes(service: str, document: type[BaseModel]) -> APIRouter:
    """The routes of this service, whose lifespan's state has the `fleet`. `document` describes their answers."""
    name = service.replace("-", "_")
    router = APIRouter(tags=[TAG], dependencies=[Depends(StrictQuery()), Depends(untagged)])

    @router.get(
        f"{PREFIX}/{service}",
        name=f"read_{name}_fleet",
        summary="See which replicas run, and what each is doing",
        description="Rates are per second, over the last five seconds. Replicas send heartbeats every second, through "
        "the Redis of the service. While it does not answer, the list has the answering replica only.",
        response_model=document,
        responses=responses(PreconditionFailed, InvalidInput, Unavailable),
    )
    async def read_fleet(request: Request) -> Response:
        fleet = await fleet_of(request)
        return Response(await fleet.view(), headers={"Cache-Control": "no-store"}, media_type="application/json")

    @router.get(
        f"{PREFIX}/{service}/events",
        name=f"watch_{name}_fleet",
        summary="Follow the fleet as server-sent events",
        description="`event: fleet` has what a read answers, on one line. It comes at once, and then every second. A "
        "stream ends after five minutes at most, and when its replica ends. The client then connects again.",
        response_class=FleetEvents,
        status_code=200,
        responses={
            200: {
                "description": "messages until one side closes the connection",
                "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
            },
            **responses(PreconditionFailed, InvalidInput, Unavailable, TooManyStreams),
        },
    )
    async def watch_fleet(request: Request) -> Response:
        return FleetEvents(await fleet_of(request))

    return router
