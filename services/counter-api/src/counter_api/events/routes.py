"""The HTTP contract of events."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response

from counter_api.events.feed import Feed
from counter_api.events.stream import CounterEvents
from counter_api.parameters import Name, strict_query
from counter_api.problems import NotACounter
from evenkeel.http.gateway_problems import TooManyStreams
from evenkeel.http.preconditions import untagged
from evenkeel.http.problems import InvalidInput, PreconditionFailed, Unavailable, responses


async def feed_of(request: Request) -> Feed:
    feed: Feed = request.state.feed
    return feed


LastEventId = Annotated[
    str | None, Header(description="`id` of the last message received; nothing is sent while the state is the same")
]

router = APIRouter(tags=["counters"], dependencies=[Depends(strict_query), Depends(untagged)])

EXAMPLE = 'id: 42\nevent: value\ndata: {"name":"downloads","value":42}\n\n'


@router.get(
    "/v1/counters/{name}/events",
    summary="Follow changes, made through any replica, as server-sent events",
    description="""The first message has the present value. After each change a message has the latest value, at most
ten times a second. `event: value` has a counter as data. `event: deleted` follows when the counter was deleted, has
expired, or is no counter any more. For a counter that does not exist yet, the first message comes when it is made.
Values in between may be left out, but never the last one. A comment every 15 seconds shows that the connection works. A
stream ends after five minutes at most, and when its replica ends. The client then connects again, as browsers do by
themselves, and gets the latest value if it missed a change.""",
    response_class=CounterEvents,
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
    return CounterEvents(feed, name, last_event_id)
