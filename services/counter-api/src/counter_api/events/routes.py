"""The HTTP contract of events."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response

from counter_api.events.feed import Feed
from counter_api.events.stream import EventStream
from counter_api.parameters import Name, strict_query
from counter_api.problems import NotACounter
from evenkeel.http.gateway_problems import TooManyStreams
from evenkeel.http.preconditions import untagged
from evenkeel.http.problems import InvalidInput, PreconditionFailed, Unavailable, responses


async def feed_of(request: Request) -> Feed:
    feed: Feed = request.state.feed
    return feed


LastEventId = Annotated[
    str | None, Header(description="`id` of the last message received: nothing is sent while that is still the state")
]

router = APIRouter(tags=["counters"], dependencies=[Depends(strict_query), Depends(untagged)])

EXAMPLE = 'id: 42\nevent: value\ndata: {"name":"downloads","value":42}\n\n'


@router.get(
    "/v1/counters/{name}/events",
    summary="Be told of changes, made through any replica, as server-sent events",
    description="""First the present value, then the latest one whenever it has changed, at most ten times a second:
`event: value` with a counter as data, `event: deleted` once it is gone (deleted or expired) or no counter any more.
A counter that does not exist yet is waited for. Values in between may be left out, the last one never is. A comment
every 15 seconds shows that the connection lives. A stream ends after five minutes at most, and when its replica does;
the client connects again, as browsers do by themselves, and is told what it has missed.""",
    response_class=EventStream,
    status_code=200,
    responses={
        200: {
            "description": "messages until one side closes the connection",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}},
        },
        **responses(NotACounter, PreconditionFailed, InvalidInput, Unavailable, TooManyStreams),
    },
)
async def watch_counter(
    feed: Annotated[Feed, Depends(feed_of)], name: Name, last_event_id: LastEventId = None
) -> Response:
    return EventStream(feed, name, last_event_id)
